"""Which distributions are found on the path, and what is read of each."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nitro_dispatch.sources.candidate import Candidate
from nitro_dispatch.sources.entry_points import EntryPointSource
from programs import RunPython

if sys.version_info >= (3, 12):
    from importlib import metadata as standard
else:
    import importlib_metadata as standard

GROUP = "nitro_dispatch.plugins"
pytestmark = pytest.mark.usefixtures("close_archives")
KINDS = ("dist-info", "egg-info", "egg-info-file", "egg", "zipped-egg", "wheel")


def normalized(name: str) -> str:
    """Spell a name as all its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def install(folder: Path, name: str, kind: str = "dist-info", *, version: str = "1.0") -> Path:
    """Install a distribution with one plugin, and hand back what has to be on the path."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: another\n"
    plugins = f"[console_scripts]\nx = x:main\n[{GROUP}]\naudit = {kind.replace('-', '_')}:X\n"
    has_dist_info = kind in ("dist-info", "wheel")
    files = {"METADATA" if has_dist_info else "PKG-INFO": metadata, "entry_points.txt": plugins}
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "egg-info-file":
        (folder / f"{stem}-py3.egg-info").write_text(metadata)
        return folder
    if kind in ("zipped-egg", "wheel"):
        archive_path = folder / (f"{stem}.whl" if has_dist_info else f"{stem}-zip.egg")
        with zipfile.ZipFile(archive_path, "w") as archive:
            for file, text in files.items():
                archive.writestr(
                    f"{f'{stem}.dist-info' if has_dist_info else 'EGG-INFO'}/{file}", text
                )
        return archive_path
    entry = folder / f"{stem}.egg" if kind == "egg" else folder
    info = entry / ("EGG-INFO" if kind == "egg" else f"{stem}.{kind}")
    info.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (info / file).write_text(text)
    return entry


def find(*path: Any) -> list[Candidate]:
    """Find the candidates on a path."""
    return EntryPointSource(GROUP, path=path).find()


def good(candidates: list[Candidate]) -> list[tuple[str, str, str]]:
    """Tell which distribution declares which module, for the good candidates."""
    return [(c.origin.distribution, c.origin.version, c.module) for c in candidates if not c.error]


def known_to_standard_library(path: list[str]) -> list[tuple[str, str, str]]:
    """Tell the same, by the standard library."""
    known = []
    seen = set()
    for folder in path:
        releases: list[Any] = list(standard.distributions(path=[folder]))
        for release in sorted(releases, key=lambda each: (normalized(each.name), each._path)):
            if normalized(release.name) not in seen:
                seen.add(normalized(release.name))
                plugins = release.entry_points.select(group=GROUP)
                known += [(release.name, release.version, each.module) for each in plugins]
    return known


installed = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from(["audit", "nitro-audit", "Nitro.Audit", "nitro_audit", "A", "b", "B.c"]),
    st.sampled_from(KINDS),
    st.sampled_from(["1.0", "2.0"]),
)


@settings(max_examples=80, deadline=None)
@given(installed=st.lists(installed, max_size=8))
def test_finds_what_the_standard_library_finds(
    close_archives: Callable[[], None], installed: list[tuple[str, str, str, str]]
) -> None:
    """Distributions of every kind, anywhere on the path, are found as `importlib.metadata` does."""
    with tempfile.TemporaryDirectory() as folder:
        entries = dict.fromkeys(
            str(install(Path(folder, where), name, kind, version=version))
            for where, name, kind, version in installed
        )
        path = [*entries, str(Path(folder, "missing")), *entries]
        assert good(find(*path)) == known_to_standard_library(path)
        close_archives()


def test_plain_folders_are_read_without_importlib_metadata(
    tmp_path: Path, run_python: RunPython
) -> None:
    """Where all is in folders neither `importlib.metadata` nor what it needs is imported."""
    install(tmp_path, "nitro-audit")
    install(tmp_path, "nitro-store", "egg-info")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
before = set(sys.modules)
from nitro_dispatch.sources.entry_points import EntryPointSource
print(*(candidate.origin for candidate in EntryPointSource({GROUP!r}).find()), sep="\\n")
slow = {{"importlib.metadata", "importlib_metadata", "email", "zipfile", "csv", "configparser"}}
print(sorted(slow & (set(sys.modules) - before)))
"""
    *found, imported = run_python(program).splitlines()
    assert "nitro-audit 1.0 (entry point audit = dist_info:X)" in found
    assert "nitro-store 1.0 (entry point audit = egg_info:X)" in found
    assert imported == "[]"


def test_archives_and_folders_are_in_the_order_of_the_path(tmp_path: Path) -> None:
    """Of a distribution in an archive and in a folder, the one that comes first counts."""
    wheel = str(install(tmp_path, "nitro-audit", "wheel", version="2"))
    folder = str(install(tmp_path / "site", "nitro-audit", version="1"))
    install(tmp_path / "site", "nitro-store")
    store = ("nitro-store", "1.0", "dist_info")
    assert good(find(wheel, folder)) == [("nitro-audit", "2", "wheel"), store]
    assert good(find(folder, wheel)) == [("nitro-audit", "1", "dist_info"), store]


class Finder:
    """Finds distributions in a way of its own: those of a hidden folder, and those of the path."""

    def __init__(self, hidden: Path) -> None:
        self._hidden = str(hidden)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find no module."""

    def find_distributions(self, context: Any) -> Iterator[Any]:
        """Find the distributions of the hidden folder, whatever the path."""
        for info in Path(self._hidden).iterdir():
            yield standard.Distribution.at(info)


def test_what_another_finder_finds_is_sorted_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a finder of another kind finds for a folder is listed among what lies there, by name."""
    for name in ("a", "c"):
        install(tmp_path / "site", name)
    for name in ("b", "c"):
        install(tmp_path / "hidden", name, version="2")
    finder = Finder(tmp_path / "hidden")
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    found = good(find(str(tmp_path / "site"), str(tmp_path / "other")))
    assert [(name, version) for name, version, _ in found] == [
        ("a", "1.0"),
        ("b", "2"),
        # In the hidden folder, whose path comes first.
        ("c", "2"),
    ]


class Unfit(Finder):
    """Fails when it is asked for distributions."""

    def find_distributions(self, context: Any) -> Iterator[Any]:
        """Fail at once."""
        raise RuntimeError("broken finder")


class Breaking(Finder):
    """Fails when it has found some distributions."""

    def find_distributions(self, context: Any) -> Iterator[Any]:
        """Find those of the hidden folder, and fail."""
        yield from super().find_distributions(context)
        raise RuntimeError("broken finder")


class Mute(Finder):
    """Cannot even be asked whether it finds distributions."""

    def __getattribute__(self, name: str) -> Any:
        """Give nothing of a finder of distributions."""
        if name == "find_distributions":
            raise RuntimeError("broken finder")
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", [Unfit, Breaking, Mute])
def test_a_finder_that_fails_hides_nothing_of_what_lies_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Finder]
) -> None:
    """It is one fault however many folders there are, and what it found before counts."""
    install(tmp_path / "site", "nitro-audit")
    zipped = install(tmp_path, "nitro-wheel", "wheel")
    install(tmp_path / "hidden", "nitro-store")
    hidden = Finder(tmp_path / "hidden")
    finders = [kind(tmp_path / "hidden"), hidden, *sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)
    found = find(str(tmp_path / "site"), str(tmp_path / "other"), str(zipped))
    names = [name for name, *_ in good(found)]
    assert names == ["nitro-audit", "nitro-store", "nitro-wheel"]
    (fault,) = [candidate for candidate in found if candidate.error]
    assert f"by the finder {__name__}.{kind.__name__}, " in str(fault.error)
    reason = "RuntimeError: broken finder"
    assert str(fault.error).endswith(f"site' cannot be searched for distributions: {reason}")


def test_what_two_finders_find_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finder that gives what lies in a folder of the path does not double it."""
    install(tmp_path, "nitro-audit")
    install(tmp_path, "nitro-store", "egg-info")
    monkeypatch.setattr(sys, "meta_path", [Finder(tmp_path), *sys.meta_path])
    names = [name for name, *_ in good(find(str(tmp_path), str(tmp_path / "other")))]
    assert names == ["nitro-audit", "nitro-store"]


@pytest.mark.parametrize("module", ["importlib_metadata", "setuptools._vendor.importlib_metadata"])
def test_a_copy_of_the_backport_is_no_other_kind_of_finder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """What the backport puts in place of the standard finder makes nothing slower."""

    class MetadataPathFinder(Finder):
        __module__ = module

    install(tmp_path / "site", "nitro-audit")
    install(tmp_path / "hidden", "nitro-store")
    monkeypatch.setattr(sys, "meta_path", [MetadataPathFinder(tmp_path / "hidden")])
    assert [name for name, *_ in good(find(str(tmp_path / "site")))] == ["nitro-audit"]


@pytest.mark.parametrize("method", [None, lambda context: []])
def test_a_nameless_finder_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: object
) -> None:
    """A finder may be any object, of no module, and without a way to find distributions."""

    class Odd:
        __module__ = None  # type: ignore[assignment]
        find_distributions = method
        find_spec = None

    monkeypatch.setattr(sys, "meta_path", [Odd, *sys.meta_path])
    site = str(install(tmp_path, "nitro-audit"))
    assert good(find(site)) == [("nitro-audit", "1.0", "dist_info")]


@pytest.mark.parametrize("entry", [None, 3, b"folder", object()])
def test_an_entry_of_the_path_that_is_no_text_hides_nothing(tmp_path: Path, entry: object) -> None:
    """Whatever else is on the path, what is beside it is found."""
    site = str(install(tmp_path, "nitro-audit"))
    assert ("nitro-audit", "1.0", "dist_info") in good(find(entry, site))


def test_a_path_object_is_searched_as_by_the_standard_library(tmp_path: Path) -> None:
    """A path that is an object is searched, although an import would pass it over."""
    install(tmp_path, "nitro-audit")
    assert good(find(tmp_path)) == [("nitro-audit", "1.0", "dist_info")]


@pytest.mark.parametrize("entry", ["", ".", "../here", "../here/"])
def test_relative_entries_are_searched_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """An empty entry of the path is the working folder, and others start there."""
    here = install(tmp_path / "here", "nitro-audit")
    monkeypatch.chdir(here)
    assert good(find(entry)) == [("nitro-audit", "1.0", "dist_info")]


@pytest.mark.parametrize(
    ("folder", "origin"),
    [
        ("Nitro_Audit-1.0.DIST-INFO", "Nitro_Audit 1.0"),
        ("nitro.audit-1.0.Egg-Info", "nitro.audit 1.0"),
        ("nitro_audit.dist-info", "nitro_audit"),
        ("nitro_audit-1.0-py3.9-linux.egg-info", "nitro_audit 1.0"),
        (".dist-info", ""),
    ],
)
def test_the_name_of_the_folder_tells_most(tmp_path: Path, folder: str, origin: str) -> None:
    """Without metadata the name and version are read from the folder's name, in any case."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "entry_points.txt").write_text(f"[{GROUP}]\naudit = audit:X\n")
    (candidate,) = find(str(tmp_path))
    assert str(candidate.origin).partition("entry point")[0].rstrip(" (") == origin


def test_an_empty_folder_is_a_distribution_without_entry_points(tmp_path: Path) -> None:
    """An empty folder of metadata hides the same distribution further along the path."""
    (tmp_path / "empty" / "nitro_audit-1.0.dist-info").mkdir(parents=True)
    site = install(tmp_path / "site", "nitro-audit")
    assert find(str(tmp_path / "empty"), str(site)) == []


@pytest.mark.parametrize(
    "metadata",
    [
        b"Name: Nitro.Audit\nVersion: 2\n",
        b"Version: 2\nName: Nitro.Audit",
        b"name:Nitro.Audit  \r\nVERSION: 2\r\n\r\nName: other\r\n",
        b"Summary: x\n Name: folded\nName: Nitro.Audit\nVersion: 2\nName: second\n\nVersion: 3",
        b"Classifier: of many\n" * 500 + b"Version: 2\nName: Nitro.Audit\n\n" + b"text\n" * 9999,
        b"x" * 1018 + b": y\nName: Nitro.Audit\nVersion: 2\n",
        b"x" * 1008 + b": y\nVersion: 2\nName: Nitro.Audit\n",
        b"Description: \xff\nName: Nitro.Audit\nVersion: 2\n",
    ],
)
def test_the_metadata_spells_name_and_version(tmp_path: Path, metadata: bytes) -> None:
    """The first name and version above the blank line count, wherever they stand."""
    install(tmp_path, "nitro-audit")
    (tmp_path / "nitro_audit-1.0.dist-info" / "METADATA").write_bytes(metadata)
    (candidate,) = find(str(tmp_path))
    assert (candidate.origin.distribution, candidate.origin.version) == ("Nitro.Audit", "2")


def test_a_name_in_the_description_is_none(tmp_path: Path) -> None:
    """Where the metadata has no name, what the description says does not count for one."""
    install(tmp_path, "nitro-audit")
    metadata = b"Summary: x\r\n\r\nName: other\r\nVersion: 3\r\n"
    (tmp_path / "nitro_audit-1.0.dist-info" / "METADATA").write_bytes(metadata)
    (candidate,) = find(str(tmp_path))
    assert (candidate.origin.distribution, candidate.origin.version) == ("nitro_audit", "1.0")


def test_long_files_are_read_to_the_end(tmp_path: Path) -> None:
    """An entry point is found however much stands before it."""
    install(tmp_path, "nitro-audit")
    file = tmp_path / "nitro_audit-1.0.dist-info" / "entry_points.txt"
    file.write_text(f"# comment\n{'# comment' * 50_000}\n[{GROUP}]\naudit = late:X\n")
    assert good(find(str(tmp_path))) == [("nitro-audit", "1.0", "late")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    """In the place of the entry points a pipe, or a device without an end, is a fault."""
    install(tmp_path, "nitro-audit")
    install(tmp_path, "nitro-store")
    file = tmp_path / "nitro_audit-1.0.dist-info" / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    audit, store = find(str(tmp_path))
    assert (store.origin.distribution, store.error) == ("nitro-store", None)
    if name == "METADATA":
        assert (audit.origin.distribution, audit.error) == ("nitro_audit", None)
    else:
        assert "it is no regular file" in str(audit.error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
@pytest.mark.usefixtures("alarm")
def test_a_pipe_that_another_finder_finds_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of another finder too a pipe in the place of the entry points is a fault."""
    install(tmp_path, "nitro-audit")
    file = tmp_path / "nitro_audit-1.0.dist-info" / "entry_points.txt"
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(sys, "meta_path", [Finder(tmp_path), *sys.meta_path])
    (audit,) = find(str(tmp_path / "other"))
    assert "it is no regular file" in str(audit.error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
@pytest.mark.usefixtures("alarm")
def test_a_pipe_on_the_path_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that is an entry of the path is passed over, as by an import, and hides nothing."""
    os.mkfifo(tmp_path / "pipe")
    site = str(install(tmp_path / "site", "nitro-audit"))
    (audit,) = find(str(tmp_path / "pipe"), site)
    assert (audit.origin.distribution, audit.error) == ("nitro-audit", None)


def test_a_folder_that_may_not_be_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an import cannot list either is no fault, and hides nothing."""
    site = str(install(tmp_path / "site", "nitro-audit"))
    closed = str(install(tmp_path / "closed", "nitro-store"))
    system_list = os.listdir

    def refuse(path: str) -> list[str]:
        if path == closed:
            raise PermissionError(13, "Permission denied", path)
        return system_list(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert [name for name, *_ in good(find(closed, site))] == ["nitro-audit"]
    assert all(candidate.error is None for candidate in find(closed, site))
