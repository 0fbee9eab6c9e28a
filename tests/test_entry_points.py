"""Plugins found by the entry points of installed distributions."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nitro_dispatch.exceptions import PluginDiscoveryError
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources import entry_points
from nitro_dispatch.sources.candidate import Candidate
from nitro_dispatch.sources.entry_points import EntryPointSource

GROUP = "nitro_dispatch.plugins"


def install(
    folder: Path,
    name: str,
    entries: str,
    *,
    version: str = "1.0.0",
    metadata: Optional[str] = None,
    suffix: str = "-{}.dist-info",
) -> Path:
    """Write the folder of a distribution, the entry points of the group in it, and hand it back."""
    info = folder / (name.replace("-", "_") + suffix.format(version))
    info.mkdir(parents=True)
    if metadata is None:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText.\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n", encoding="utf-8")
    return info


def write(folder: Path, *paths: str) -> None:
    """Write files which end the process if they are imported."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemExit('imported')\n")


def find(*path: Path, group: str = GROUP) -> list[Candidate]:
    """Find the candidates on a path."""
    return EntryPointSource(group, path=[str(folder) for folder in path]).find()


def good(*path: Path) -> list[str]:
    """Tell what the good candidates on a path refer to."""
    return [f"{c.module}:{c.attribute}" for c in find(*path) if c.error is None]


def faults(*path: Path) -> list[str]:
    """Tell what is wrong with the broken candidates on a path."""
    return [str(c.error) for c in find(*path) if c.error is not None]


def test_describes_an_entry_point(tmp_path: Path) -> None:
    """A candidate tells the distribution, the reference, the source file and all names."""
    install(tmp_path, "Nitro.Audit", "audit = nitro_audit:AuditPlugin", version="1.2")
    write(tmp_path, "nitro_audit.py")
    assert find(tmp_path) == [
        Candidate(
            origin=Origin("Nitro.Audit", "1.2", "audit = nitro_audit:AuditPlugin"),
            module="nitro_audit",
            path=str(tmp_path / "nitro_audit.py"),
            attribute="AuditPlugin",
            names=("audit", "Nitro.Audit", "nitro-audit", "nitro_audit"),
        )
    ]


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("a:X", "a.py"),
        ("a:X", "a/__init__.py"),
        ("a.b:X", "a/b.py"),
        ("a.b:X", "a/b/__init__.py"),
        ("a.b.c.d:X", "a/b/c/d.py"),
    ],
)
@pytest.mark.parametrize("is_namespace", [True, False])
def test_finds_the_source(tmp_path: Path, reference: str, file: str, is_namespace: bool) -> None:
    """The file is found in modules, packages and namespace packages, none of them imported."""
    install(tmp_path, "nitro-audit", f"audit = {reference}")
    write(tmp_path, file)
    if not is_namespace:
        folders = Path(file).parents
        write(tmp_path, *(f"{folder}/__init__.py" for folder in folders if folder.name))
    before = set(sys.modules)
    (candidate,) = find(tmp_path)
    assert candidate.path == str(tmp_path / file)
    assert candidate.is_package == file.endswith("__init__.py")
    assert {name for name in set(sys.modules) - before if name[0] in "abcd"} == set()


def test_a_namespace_may_lie_in_several_folders(tmp_path: Path) -> None:
    """A module is found in whichever portion of its namespace package it lies."""
    write(tmp_path, "one/space/deep/x.py", "two/space/deep/y.py")
    install(tmp_path / "one", "nitro-audit", "audit = space.deep.y:X")
    (candidate,) = find(tmp_path / "one", tmp_path / "two")
    assert candidate.path == str(tmp_path / "two" / "space" / "deep" / "y.py")


@pytest.mark.parametrize("module", ["missing", "missing.sub", "a.missing", "a.b.missing", "c", "e"])
def test_a_missing_source_is_no_fault_yet(tmp_path: Path, module: str) -> None:
    """An entry point whose module has no source on the disk is a candidate without a path."""
    write(tmp_path, "a/__init__.py", "a/b.py", "c.pyc", "d/e.py")
    install(tmp_path, "nitro-audit", f"audit = {module}:X")
    (candidate,) = find(tmp_path)
    assert candidate.path == ""
    assert candidate.error is None


def test_the_source_is_looked_for_once_and_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who never asks for the source file does not pay for it; who asks twice pays once."""
    searched = []

    def search(module: str, path: object) -> str:
        searched.append(module)
        return "a/__init__.py"

    monkeypatch.setattr(entry_points, "find_source", search)
    install(tmp_path, "nitro-audit", "audit = a:X")
    (candidate,) = find(tmp_path)
    assert not searched
    assert (candidate.is_package, candidate.path) == (True, "a/__init__.py")
    assert searched == ["a"]


def test_names_may_differ(tmp_path: Path) -> None:
    """An entry point may have any name, also with blanks, dots and letters of any script."""
    install(tmp_path, "nitro-audit", "my audit.prüf = nitro_prüf:Prüfer")
    (candidate,) = find(tmp_path)
    assert candidate.names[0] == "my audit.prüf"
    assert (candidate.module, candidate.attribute) == ("nitro_prüf", "Prüfer")


@pytest.mark.parametrize(
    ("value", "attribute"),
    [("a", ""), ("a:X", "X"), ("a:X.Y", "X.Y"), ("a : X [fast,big]", "X"), ("a:X[]", "X")],
)
def test_reads_every_form_of_reference(tmp_path: Path, value: str, attribute: str) -> None:
    """A reference has a module, perhaps an attribute, and extras, which are passed over."""
    install(tmp_path, "nitro-audit", f"audit={value}")
    assert good(tmp_path) == [f"a:{attribute}"]


def test_finds_one_group_only(tmp_path: Path) -> None:
    """Entry points of other groups, whatever their names, are not found."""
    entries = f"a = a:X\n[{GROUP}.more]\nb = b:X\n[console_scripts]\nc = c:main"
    install(tmp_path, "nitro-audit", entries)
    assert good(tmp_path) == ["a:X"]
    assert [c.module for c in find(tmp_path, group=f"{GROUP}.more")] == ["b"]
    assert find(tmp_path, group="nitro_dispatch") == []


def test_comments_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """Comments, indentation and line ends of any kind are no part of an entry point."""
    info = install(tmp_path, "nitro-audit", "")
    text = f"# x = y\n; x = y\n\n[ {GROUP} ]\r\n  a = a:X\r\r\n\tb = b:X\x0b\n#c = c:X"
    (info / "entry_points.txt").write_bytes(text.encode())
    assert good(tmp_path) == ["a:X", "b:X"]
    assert faults(tmp_path) == []


def test_two_distributions_may_declare_the_same(tmp_path: Path) -> None:
    """An entry point that two distributions declare is two candidates, in the path's order."""
    install(tmp_path / "one", "zebra", "audit = zebra:X")
    install(tmp_path / "two", "ape", "audit = ape:X")
    assert good(tmp_path / "one", tmp_path / "two") == ["zebra:X", "ape:X"]
    assert good(tmp_path / "two", tmp_path / "one") == ["ape:X", "zebra:X"]


def test_the_order_in_a_folder_is_fixed(tmp_path: Path) -> None:
    """Distributions of one folder come by name, the entry points of each as declared."""
    for name in ("d", "b", "a", "c"):
        install(tmp_path, name, f"z = {name}:Z\ny = {name}:Y")
    assert good(tmp_path) == ["a:Z", "a:Y", "b:Z", "b:Y", "c:Z", "c:Y", "d:Z", "d:Y"]


@pytest.mark.parametrize("name", ["nitro-audit", "Nitro_Audit", "nitro.audit"])
def test_a_distribution_counts_once(tmp_path: Path, name: str) -> None:
    """Of a distribution that is on the path twice, however it is spelled, the first counts."""
    install(tmp_path / "one", "nitro-audit", "audit = one:X")
    install(tmp_path / "two", name, "audit = two:X")
    assert good(tmp_path / "one", tmp_path / "two") == ["one:X"]
    assert good(tmp_path / "two", tmp_path / "one", tmp_path / "two") == ["two:X"]


def test_a_distribution_without_entry_points_hides_a_later_one(tmp_path: Path) -> None:
    """A release that declares nothing counts too: it is the one that would be imported."""
    (install(tmp_path / "one", "nitro-audit", "") / "entry_points.txt").unlink()
    install(tmp_path / "two", "nitro-audit", "audit = two:X", version="0.9")
    assert find(tmp_path / "one", tmp_path / "two") == []


def test_remains_of_an_installation_are_passed_over(tmp_path: Path) -> None:
    """The folder that an interrupted pip leaves behind, with a tilde, is no distribution."""
    install(tmp_path, "~itro_audit", "audit = old:X", metadata="Name: nitro-audit\n")
    assert find(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        "audit",
        "audit =",
        "= a:X",
        "audit = a b:c",
        "audit = a:b c",
        "audit = :X",
        "audit = a:",
        "audit = a..b:X",
        "audit = .a:X",
        "audit = a:X.",
        "audit = 1a:X",
        "audit = a-b:X",
        "audit = a:X:Y",
        "audit = a:X [fast",
        "audit = a:X()",
        "audit : a:X",
        "audit = a:X # comment",
    ],
)
def test_a_bad_line_is_a_fault(tmp_path: Path, line: str) -> None:
    """A line that is no entry point is a fault that names it, and hides none of the others."""
    info = install(tmp_path, "nitro-audit", f"a = a:X\n{line}\nb = b:X")
    install(tmp_path, "other", "c = c:X")
    assert good(tmp_path) == ["a:X", "b:X", "c:X"]
    (fault,) = [c for c in find(tmp_path) if c.error is not None]
    file = str(info / "entry_points.txt")
    assert str(fault.error) == (
        f"nitro-audit 1.0.0 declares {line!r} in line 3 of {file}, "
        "where 'name = package.module:ClassName' should stand"
    )
    assert isinstance(fault.error, PluginDiscoveryError)
    assert fault.origin == Origin("nitro-audit", "1.0.0", line, file, 3)
    assert fault.stage == "discover"
    assert "nitro_audit" in fault.names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = x:X\n[{}]\na = a:X", "'x = x:X' in line 1"),
        ("[{}]\na = a:X\n[{}]\nb = b:X", "line 3 .* begins a second time"),
        ("[other\nx = x:X\n[{}]\na = a:X", r"'\[other' in line 1 .* \[brackets\]"),
        ("[{}]\na = a:X\n[{}\nx = x:X", r"in line 3 .* \[brackets\]"),
        ("[]\nx = x:X\n[{}]\na = a:X", r"'\[\]' in line 1"),
    ],
)
def test_bad_sections_are_a_fault(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong with the sections is told once, and the good entries stay good."""
    info = install(tmp_path, "nitro-audit", "")
    (info / "entry_points.txt").write_text(text.replace("{}", GROUP))
    (fault,) = faults(tmp_path)
    assert re.search(expected, fault)
    assert "a:X" in good(tmp_path)
    assert "x:X" not in good(tmp_path)


def test_the_faults_of_other_groups_are_passed_over(tmp_path: Path) -> None:
    """A bad line of another group is the business of those who read that group."""
    install(tmp_path, "nitro-audit", "a = a:X\n[console_scripts]\nnonsense")
    assert faults(tmp_path) == []
    assert find(tmp_path, group="missing.group") == []


def test_a_line_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    """Bytes which are not UTF-8 spoil their line only."""
    info = install(tmp_path, "nitro-audit", "")
    content = f"[{GROUP}]\na = a:X\npr\xfcf = b:X\nc = c:X".encode("latin-1")
    (info / "entry_points.txt").write_bytes(content)
    assert good(tmp_path) == ["a:X", "c:X"]
    (fault,) = faults(tmp_path)
    assert r"'pr\\xfcf = b:X' in line 3" in fault
    assert "should be UTF-8" in fault


# One line, which begins neither a section nor a comment.
junk = st.binary(min_size=1).filter(
    lambda line: (
        len(line.splitlines()) == 1
        and line[:1] not in b"[#;"
        and not line.decode(errors="replace")[0].isspace()
    )
)


@settings(max_examples=60, deadline=None)
@given(before=junk, between=junk)
def test_no_bytes_hide_good_entries(before: bytes, between: bytes) -> None:
    """Whatever stands before the section and among the entry points, the good ones are found."""
    with tempfile.TemporaryDirectory() as folder:
        info = install(Path(folder), "nitro-audit", "")
        content = [before, f"[{GROUP}]".encode(), b"a=a:X", between, b"b=b:X"]
        (info / "entry_points.txt").write_bytes(b"\n".join(content))
        assert {"a:X", "b:X"} <= set(good(Path(folder)))


def test_a_file_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    """A file in another encoding is a fault of its distribution, and hides no other."""
    info = install(tmp_path, "nitro-audit", "")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\na = a:X", encoding="utf-16")
    install(tmp_path, "other", "b = b:X")
    assert good(tmp_path) == ["b:X"]
    (fault,) = faults(tmp_path)
    assert "nitro-audit 1.0.0" in fault
    assert str(info / "entry_points.txt") in fault
    assert "utf-8" in fault


def test_an_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    """A file that cannot be read is a fault which tells the system's reason, and hides no other."""
    info = install(tmp_path, "nitro-audit", "")
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").symlink_to("entry_points.txt")
    install(tmp_path, "other", "b = b:X")
    assert good(tmp_path) == ["b:X"]
    (fault,) = [c for c in find(tmp_path) if c.error is not None]
    assert fault.error is not None
    assert isinstance(fault.error.__cause__, OSError)
    assert str(info) in str(fault.error)
    assert fault.origin == Origin("nitro-audit", "1.0.0", file=str(info / "entry_points.txt"))


def test_a_file_that_may_not_be_read_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without the right to read it is a fault, not a distribution without entry points."""
    info = install(tmp_path, "nitro-audit", "audit = a:X")
    system_open = os.open

    def refuse(path: str, flags: int) -> int:
        if path == str(info / "entry_points.txt"):
            raise PermissionError(13, "Permission denied", path)
        return system_open(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    (fault,) = faults(tmp_path)
    assert "Permission denied" in fault


@pytest.mark.parametrize("metadata", ["", "Summary: nothing\n", "\udcff", None])
def test_without_metadata_the_folder_names_the_distribution(
    tmp_path: Path, metadata: Optional[str]
) -> None:
    """Without a METADATA file, or a name in it, or UTF-8, the folder's name and version count."""
    info = install(tmp_path, "nitro-audit", "audit = a:X", version="1.2")
    if metadata is None:
        (info / "METADATA").unlink()
    else:
        (info / "METADATA").write_bytes(metadata.encode(errors="surrogateescape"))
    (candidate,) = find(tmp_path)
    assert candidate.origin == Origin("nitro_audit", "1.2", "audit = a:X")
    assert candidate.names == ("audit", "nitro_audit", "nitro-audit")


@pytest.mark.parametrize("suffix", [".egg-info", "-{}-py3.9.egg-info"])
def test_old_forms_of_distributions_are_found(tmp_path: Path, suffix: str) -> None:
    """An egg-info folder counts as a distribution, and once with a dist-info folder."""
    info = install(tmp_path / "one", "nitro-audit", "audit = a:X", suffix=suffix)
    (info / "METADATA").rename(info / "PKG-INFO")
    install(tmp_path / "two", "nitro-audit", "audit = b:X")
    (candidate,) = find(tmp_path / "one", tmp_path / "two")
    assert candidate.origin == Origin("nitro-audit", "1.0.0", "audit = a:X")


def test_a_folder_of_an_egg_is_a_distribution(tmp_path: Path) -> None:
    """An unpacked egg, whose folder does not tell the name, is named by its metadata."""
    egg = tmp_path / "nitro_audit-1.0.0-py3.9.egg"
    info = install(egg, "nitro-audit", "audit = a:X")
    (info / "METADATA").rename(info / "PKG-INFO")
    info.rename(egg / "EGG-INFO")
    install(tmp_path / "two", "nitro-audit", "audit = b:X")
    (candidate,) = find(egg, tmp_path / "two")
    assert candidate.origin == Origin("nitro-audit", "1.0.0", "audit = a:X")


def test_distributions_without_a_name_are_several(tmp_path: Path) -> None:
    """Where nothing tells the name, two distributions are not taken for one."""
    for name in ("one", "two"):
        info = install(tmp_path / name, name, f"{name} = {name}:X")
        (info / "METADATA").unlink()
        info.rename(tmp_path / name / "EGG-INFO")
    eggs = [tmp_path / "one", tmp_path / "two"]
    for egg in eggs:
        egg.rename(egg.with_suffix(".egg"))
    assert good(*(egg.with_suffix(".egg") for egg in eggs)) == ["one:X", "two:X"]


@pytest.mark.usefixtures("close_archives")
def test_zip_files_on_the_path_are_searched(tmp_path: Path) -> None:
    """Entry points are found in a zip file; their source cannot be read from the disk."""
    install(tmp_path, "nitro-audit", "audit = nitro_audit:X\nbroken")
    write(tmp_path, "nitro_audit.py")
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [*tmp_path.glob("*/*"), tmp_path / "nitro_audit.py"]:
            file.write(path, path.relative_to(tmp_path))
    candidate, fault = find(archive)
    assert candidate.origin == Origin("nitro-audit", "1.0.0", "audit = nitro_audit:X")
    assert candidate.path == ""
    assert str(archive) in str(fault.error)


@pytest.mark.parametrize("entry", ["missing", "file", "\0"])
def test_an_odd_entry_of_the_path_hides_nothing(tmp_path: Path, entry: str) -> None:
    """A path may have folders that are missing, files, and nonsense in it."""
    write(tmp_path, "file")
    install(tmp_path, "nitro-audit", "audit = a:X")
    assert good(tmp_path / entry, tmp_path) == ["a:X"]


def test_searches_the_path_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path `sys.path` is searched, as it is when the search begins."""
    source = EntryPointSource(GROUP)
    install(tmp_path, "nitro-audit", "audit = nitro_audit.sub:X")
    write(tmp_path, "nitro_audit/__init__.py", "nitro_audit/sub.py")
    monkeypatch.syspath_prepend(tmp_path)
    found = [c for c in source.find() if c.module == "nitro_audit.sub"]
    assert [c.path for c in found] == [str(tmp_path / "nitro_audit" / "sub.py")]
    assert "nitro_audit" not in sys.modules


class EditableFinder:
    """Finds packages where they are developed, as the finder of an editable install does."""

    def __init__(self, sources: dict[str, Path]) -> None:
        self._sources = sources

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: object = None
    ) -> Optional[ModuleSpec]:
        """Find a top-level package."""
        if name not in self._sources:
            return None
        return importlib.util.spec_from_file_location(name, self._sources[name] / "__init__.py")


def test_editable_installs_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of an editable install is found by its finder, in a folder of another name."""
    install(tmp_path / "site", "nitro-audit", "audit = nitro_audit.sub:X\ntop = nitro_audit:Y")
    write(tmp_path, "src/__init__.py", "src/sub.py")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(
        sys, "meta_path", [*sys.meta_path, EditableFinder({"nitro_audit": tmp_path / "src"})]
    )
    found = [c for c in EntryPointSource(GROUP).find() if c.origin.distribution == "nitro-audit"]
    assert [c.path for c in found] == [
        str(tmp_path / "src" / "sub.py"),
        str(tmp_path / "src" / "__init__.py"),
    ]
    assert [c.is_package for c in found] == [False, True]
    assert "nitro_audit" not in sys.modules


def test_a_finder_that_fails_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finder that raises leaves the candidate without a path."""

    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "nitro_audit":
                raise RuntimeError("broken finder")

    install(tmp_path, "nitro-audit", "audit = nitro_audit:X")
    write(tmp_path, "nitro_audit.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    (candidate,) = [c for c in EntryPointSource(GROUP).find() if c.module == "nitro_audit"]
    assert candidate.path == ""
    assert candidate.error is None


def test_other_kinds_of_distributions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution that a finder of another kind gives, without a folder, is read as well."""
    if sys.version_info >= (3, 12):
        from importlib import metadata
    else:
        import importlib_metadata as metadata

    class Frozen(metadata.Distribution):
        def read_text(self, filename: str) -> Optional[str]:
            files = {
                "METADATA": "Metadata-Version: 2.1\nName: nitro-frozen\nVersion: 3\n",
                "entry_points.txt": f"[{GROUP}]\nfrozen = nitro_frozen:X\nbroken",
            }
            return files.get(filename)

        def locate_file(self, path: Any) -> Any:
            raise NotImplementedError

    class Bare(Frozen):
        def read_text(self, filename: str) -> Optional[str]:
            return "Name: nitro-bare\n" if filename == "METADATA" else None

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            return None

        def find_distributions(self, context: Any) -> Iterator[Frozen]:
            yield Bare()
            yield Frozen()

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    candidate, fault = find(tmp_path, tmp_path / "other")
    assert candidate.origin == Origin("nitro-frozen", "3", "frozen = nitro_frozen:X")
    assert "nitro-frozen 3 declares 'broken' in line 3 of entry_points.txt" in str(fault.error)


def test_a_folder_that_a_finder_fails_on_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a finder of distributions raises is a fault of that folder, and hides no other."""

    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            return None

        def find_distributions(self, context: Any) -> list[Any]:
            if context.path == [str(tmp_path / "bad")]:
                raise RuntimeError("broken finder")
            return []

    install(tmp_path, "nitro-audit", "audit = a:X")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert good(tmp_path / "bad", tmp_path) == ["a:X"]
    (fault,) = faults(tmp_path / "bad", tmp_path)
    assert fault.endswith("bad' cannot be searched for distributions: RuntimeError: broken finder")


@pytest.mark.parametrize("options", [{"group": 3}, {"group": ""}, {"path": "folder"}])
def test_arguments_are_checked(options: dict[str, Any]) -> None:
    """A group that is no text, and a path that is one string, is a TypeError with what to give."""
    with pytest.raises(TypeError, match="such as"):
        EntryPointSource(**options)


def test_a_relative_path_gives_absolute_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source file's path is absolute, also on a relative path."""
    install(tmp_path, "nitro-audit", "audit = a.b:X")
    write(tmp_path, "a/b.py")
    monkeypatch.chdir(tmp_path.parent)
    (candidate,) = EntryPointSource(path=[os.path.basename(tmp_path)]).find()
    assert candidate.path == str(tmp_path / "a" / "b.py")
