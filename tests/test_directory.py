"""Plugins found in a folder."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from nitro_dispatch.exceptions import PluginDiscoveryError
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources.candidate import Candidate
from nitro_dispatch.sources.directory import DirectorySource

only_posix = pytest.mark.skipif(os.name != "posix", reason="the mode tells no rights there")


def write(folder: Path, *paths: str) -> None:
    """Write empty files, with the folders that they are in."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def found(folder: Path, **options: Any) -> list[str]:
    """Tell the paths of the good candidates, below the folder."""
    candidates = DirectorySource(folder, **options).find()
    return [Path(c.path).relative_to(folder).as_posix() for c in candidates if c.error is None]


def faults(folder: Path, **options: Any) -> list[Candidate]:
    """Find the broken candidates."""
    return [c for c in DirectorySource(folder, **options).find() if c.error is not None]


def test_describes_a_file(tmp_path: Path) -> None:
    """A file is a candidate that tells its path, its name and stem, its origin, and no fault."""
    write(tmp_path, "audit_plugin.py")
    (candidate,) = DirectorySource(tmp_path).find()
    path = str(tmp_path / "audit_plugin.py")
    assert candidate == Candidate(
        origin=Origin(file=path),
        module=candidate.module,
        path=path,
        names=("audit_plugin", "audit_plugin.py"),
    )


def test_describes_a_package(tmp_path: Path) -> None:
    """A package is a candidate whose path is its `__init__.py` and whose name the folder's."""
    write(tmp_path, "audit_plugin/__init__.py")
    (candidate,) = DirectorySource(tmp_path).find()
    path = str(tmp_path / "audit_plugin" / "__init__.py")
    assert candidate == Candidate(
        origin=Origin(file=path),
        module=candidate.module,
        path=path,
        is_package=True,
        names=("audit_plugin",),
    )


def test_finds_what_the_pattern_matches_in_sorted_order(tmp_path: Path) -> None:
    """Files and packages whose names match are found, sorted, and nothing else is."""
    write(tmp_path, "c_plugin.py", "a_plugin.py", "b_plugin/__init__.py", "helpers.py", "a_plugin")
    write(tmp_path, "d_plugin.pyc", "e_plugin.txt", "f_plugin/other.py", "C_PLUGIN.PY")
    assert found(tmp_path) == ["a_plugin.py", "b_plugin/__init__.py", "c_plugin.py"]
    assert faults(tmp_path) == []
    assert found(tmp_path, pattern="[ac]*.py") == ["a_plugin.py", "c_plugin.py"]
    assert found(tmp_path, pattern="*_plugin.txt") == []


@pytest.mark.parametrize("pattern", ["*", "*.py"])
def test_a_wide_pattern_finds_only_python(tmp_path: Path, pattern: str) -> None:
    """Also a pattern that matches every name finds `.py` files and packages only."""
    write(tmp_path, "a.py", "b/__init__.py", "c.txt", "d/x.txt", "__main__.py", "__init__.py")
    assert found(tmp_path, pattern=pattern) == ["a.py", "b/__init__.py"]


def test_case_counts(tmp_path: Path) -> None:
    """The pattern is matched with the case of its letters, on every platform."""
    write(tmp_path, "A_Plugin.py")
    assert found(tmp_path) == []
    assert found(tmp_path, pattern="*_Plugin.py") == ["A_Plugin.py"]


def test_hidden_things_and_caches_are_passed_over(tmp_path: Path) -> None:
    """What begins with a dot, and `__pycache__`, is not looked at in any search."""
    write(tmp_path, ".a_plugin.py", ".git/b_plugin.py", "__pycache__/c_plugin.py", "d/e_plugin.py")
    write(tmp_path, "d/.f_plugin/__init__.py", "__pycache__/__init__.py")
    assert found(tmp_path, recursive=True) == ["d/e_plugin.py"]
    assert found(tmp_path, recursive=True, pattern=".*.py") == []


def test_sub_folders_are_searched_on_demand(tmp_path: Path) -> None:
    """Sub-folders are searched with `recursive`, in sorted order, and only then."""
    write(tmp_path, "b/x_plugin.py", "a/c/y_plugin.py", "a/z_plugin.py", "a_plugin.py", "b-c/q.py")
    assert found(tmp_path) == ["a_plugin.py"]
    assert found(tmp_path, recursive=True) == [
        "a/c/y_plugin.py",
        "a/z_plugin.py",
        "a_plugin.py",
        "b/x_plugin.py",
    ]


def test_a_found_package_is_not_searched(tmp_path: Path) -> None:
    """A package which is a candidate has no further ones in it; another one is a folder."""
    write(tmp_path, "a_plugin/__init__.py", "a_plugin/b_plugin.py", "lib/__init__.py")
    write(tmp_path, "lib/c_plugin.py")
    assert found(tmp_path, recursive=True) == ["a_plugin/__init__.py", "lib/c_plugin.py"]


def test_a_tree_may_be_deep(tmp_path: Path) -> None:
    """Folders may lie in each other deeper than Python's recursion limit."""
    write(tmp_path, "d/" * 150 + "x_plugin.py")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        assert len(DirectorySource(tmp_path, recursive=True).find()) == 1
    finally:
        sys.setrecursionlimit(limit)


def test_link_loops_end(tmp_path: Path) -> None:
    """Links which lead back up, or to themselves, are followed once at most."""
    write(tmp_path, "a/x_plugin.py")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to("self")
    assert found(tmp_path, recursive=True) == ["a/x_plugin.py"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    """A sub-folder behind a link is searched, once, under the first path that leads to it."""
    write(tmp_path, "elsewhere/x_plugin.py", "plugins/y_plugin.py")
    folder = tmp_path / "plugins"
    (folder / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert found(folder, recursive=True) == ["a/x_plugin.py", "y_plugin.py"]


def test_one_file_counts_once(tmp_path: Path) -> None:
    """Of several paths to one real file or package, the first in sorted order is the candidate."""
    write(tmp_path, "b_plugin.py", "c_plugin/__init__.py")
    (tmp_path / "a_plugin.py").symlink_to("b_plugin.py")
    (tmp_path / "d_plugin").symlink_to("c_plugin", target_is_directory=True)
    assert found(tmp_path) == ["a_plugin.py", "c_plugin/__init__.py"]


def test_packages_may_share_one_init_file(tmp_path: Path) -> None:
    """Two packages are two, also where their `__init__.py` is a link to one file."""
    write(tmp_path, "empty", "a_plugin/x", "b_plugin/x")
    for name in ("a_plugin", "b_plugin"):
        (tmp_path / name / "__init__.py").symlink_to(tmp_path / "empty")
    assert found(tmp_path) == ["a_plugin/__init__.py", "b_plugin/__init__.py"]
    assert len({candidate.module for candidate in DirectorySource(tmp_path).find()}) == 2


def test_a_link_may_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A file that a user linked into the folder is a plugin, whatever the target's name."""
    write(tmp_path, "store/3f2a", "plugins/y.py")
    (tmp_path / "plugins" / "x_plugin.py").symlink_to(tmp_path / "store" / "3f2a")
    assert found(tmp_path / "plugins") == ["x_plugin.py"]


def test_module_names_shadow_nothing(tmp_path: Path) -> None:
    """A module is named after its stem, made an identifier, in a package of the library's own."""
    write(tmp_path, "json.py", "3-d printer.py", "a/json.py", "prüfung.py", "x.y/__init__.py")
    candidates = DirectorySource(tmp_path, pattern="*.py", recursive=True).find()
    modules = [candidate.module for candidate in candidates]
    prefixes = [module.rpartition("_")[0] for module in modules]
    stems = ["_3_d_printer", "json", "json", "pr_fung", "x_y"]
    assert prefixes == [f"nitro_dispatch._discovered.{stem}" for stem in stems]
    assert len(set(modules)) == 5
    assert all(part.isidentifier() for module in modules for part in module.split("."))


def test_a_module_name_depends_on_the_real_path_alone(tmp_path: Path) -> None:
    """The same file has the same module name again, also by way of a linked folder."""
    write(tmp_path, "real/x_plugin.py")
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    (one,) = DirectorySource(tmp_path / "real").find()
    (other,) = DirectorySource(tmp_path / "link").find()
    assert one.module == other.module
    assert other.path == str(tmp_path / "link" / "x_plugin.py")


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    """A name that is not valid text in the file system's encoding has a module name too."""
    try:
        (tmp_path / os.fsdecode(b"a\xff_plugin.py")).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    (candidate,) = DirectorySource(tmp_path).find()
    assert candidate.module.startswith("nitro_dispatch._discovered.a__plugin_")


@pytest.mark.parametrize("option", ["text", "path", "bytes", "relative", "home"])
def test_the_folder_may_be_given_in_many_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """A string, a path, bytes, a relative path, and `~` all name the folder."""
    write(tmp_path, "x_plugin.py")
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.parent))
    ways: dict[str, Any] = {
        "text": str(tmp_path),
        "path": tmp_path,
        "bytes": os.fsencode(tmp_path),
        "relative": tmp_path.name,
        "home": f"~/{tmp_path.name}",
    }
    (candidate,) = DirectorySource(ways[option]).find()
    assert candidate.path == str(tmp_path / "x_plugin.py")


@pytest.mark.parametrize("missing", ["none", "a\0b"])
def test_a_missing_folder_is_an_error(tmp_path: Path, missing: str) -> None:
    """A folder that is not there is an error with its path and what to do."""
    with pytest.raises(PluginDiscoveryError, match="no such folder; create it") as caught:
        DirectorySource(tmp_path / missing).find()
    assert str(tmp_path / missing) in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A file given for a folder is an error with its path and what to do."""
    write(tmp_path, "x_plugin.py")
    with pytest.raises(PluginDiscoveryError, match="it is a file; give the folder") as caught:
        DirectorySource(tmp_path / "x_plugin.py").find()
    assert str(tmp_path / "x_plugin.py") in str(caught.value)


def test_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is an error that tells the system's reason."""
    refuse(monkeypatch, "listdir", tmp_path)
    with pytest.raises(PluginDiscoveryError, match="Permission denied") as caught:
        DirectorySource(tmp_path).find()
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize(
    "pattern", ["", ".", "..", "../*_plugin.py", "/etc/*.py", "a/*.py", "**/*.py", "..\\*.py"]
)
@pytest.mark.parametrize("recursive", [False, True])
def test_a_pattern_cannot_leave_the_folder(tmp_path: Path, pattern: str, recursive: bool) -> None:
    """A pattern that is a path, or nothing, is an error that shows it and what to give."""
    with pytest.raises(PluginDiscoveryError, match="give one such as") as caught:
        DirectorySource(tmp_path, pattern=pattern, recursive=recursive)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text"), [("directory", "directory must be a path"), ("pattern", "such as")]
)
def test_arguments_are_checked(tmp_path: Path, option: str, text: str) -> None:
    """What is no path, or no pattern, is a TypeError where it is given."""
    wrong: Any = {"directory": tmp_path, option: 3}
    with pytest.raises(TypeError, match=text):
        DirectorySource(**wrong)


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_text_is_no_directory(empty: Any) -> None:
    """An empty text does not stand for the working folder: the error says what does."""
    with pytest.raises(PluginDiscoveryError, match=r"give the folder to search, '\.' for"):
        DirectorySource(empty)


def test_a_broken_link_is_a_fault(tmp_path: Path) -> None:
    """A link that leads nowhere or to itself is a broken candidate, beside the good ones."""
    write(tmp_path, "c_plugin.py")
    (tmp_path / "a_plugin.py").symlink_to("nowhere")
    (tmp_path / "b_plugin.py").symlink_to("b_plugin.py")
    assert found(tmp_path) == ["c_plugin.py"]
    first, second = faults(tmp_path)
    assert isinstance(first.error, FileNotFoundError)
    assert isinstance(second.error, OSError)
    assert first.stage == "discover"
    assert first.names == ("a_plugin", "a_plugin.py")
    assert first.origin == Origin(file=str(tmp_path / "a_plugin.py"))


def test_a_broken_link_of_another_name_is_none(tmp_path: Path) -> None:
    """A link that leads nowhere and matches no pattern is passed over."""
    (tmp_path / "notes").symlink_to("nowhere")
    (tmp_path / "notes.txt").symlink_to("nowhere")
    for pattern in ("*_plugin.py", "*"):
        assert DirectorySource(tmp_path, pattern=pattern, recursive=True).find() == []


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, refused: Path) -> None:
    """Let a function of `os` refuse a path, as it would for a user who is not root."""
    original = getattr(os, function)

    def refusing(path: Any) -> Any:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, function, refusing)


def test_an_unreadable_sub_folder_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sub-folder that cannot be listed is a broken candidate, and the search goes on."""
    write(tmp_path, "a/x_plugin.py", "b/y_plugin.py")
    refuse(monkeypatch, "listdir", tmp_path / "a")
    assert found(tmp_path, recursive=True) == ["b/y_plugin.py"]
    (fault,) = faults(tmp_path, recursive=True)
    assert isinstance(fault.error, PermissionError)
    assert fault.path == str(tmp_path / "a")
    assert found(tmp_path) == []


def test_an_unreadable_package_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a matching name that cannot be looked into is a broken candidate."""
    write(tmp_path, "a_plugin/__init__.py", "b_plugin.py")
    refuse(monkeypatch, "stat", tmp_path / "a_plugin" / "__init__.py")
    assert found(tmp_path) == ["b_plugin.py"]
    assert [fault.path for fault in faults(tmp_path)] == [str(tmp_path / "a_plugin")]


@only_posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    """A file that may not be read is a broken candidate, and the search goes on."""
    write(tmp_path, "a_plugin.py", "b_plugin.py")
    (tmp_path / "a_plugin.py").chmod(0)
    assert found(tmp_path) == ["b_plugin.py"]
    assert isinstance(faults(tmp_path)[0].error, PermissionError)


def test_a_file_that_cannot_be_opened_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose opening fails is a broken candidate, and the search goes on."""
    write(tmp_path, "a_plugin.py", "b_plugin.py")

    def refusing(path: str, mode: str) -> Any:
        if path.endswith("a_plugin.py"):
            raise PermissionError(13, "Permission denied", path)
        return open(path, mode)

    monkeypatch.setattr("nitro_dispatch.sources.directory.open", refusing, raising=False)
    assert found(tmp_path) == ["b_plugin.py"]
    (fault,) = faults(tmp_path)
    assert isinstance(fault.error, PermissionError)
    assert fault.names == ("a_plugin", "a_plugin.py")


@only_posix
@pytest.mark.usefixtures("alarm")
def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    """A named pipe is not opened, which would block, and is no candidate."""
    os.mkfifo(tmp_path / "a_plugin.py")
    os.mkfifo(tmp_path / "b")
    write(tmp_path, "c_plugin/x")
    os.mkfifo(tmp_path / "c_plugin" / "__init__.py")
    assert DirectorySource(tmp_path, recursive=True).find() == []


@only_posix
@pytest.mark.parametrize(
    "path", ["", "sub", "x_plugin.py", "sub/y_plugin.py", "z_plugin", "z_plugin/__init__.py"]
)
def test_what_anybody_may_write_to_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A folder, package or file that others may write to is named in one warning, and found."""
    write(tmp_path, "x_plugin.py", "sub/y_plugin.py", "z_plugin/__init__.py", "notes.txt")
    (tmp_path / "notes.txt").chmod(0o666)
    DirectorySource(tmp_path, recursive=True).find()
    assert caplog.records == []
    (tmp_path / path).chmod(0o777)
    assert len(found(tmp_path, recursive=True)) == 3
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name.startswith("nitro_dispatch.")
    assert f"{str(tmp_path / path)!r}" in record.getMessage()


def test_imports_nothing(tmp_path: Path) -> None:
    """Files are found without being run, also those which would fail."""
    (tmp_path / "x_plugin.py").write_text("raise SystemExit('run')")
    before = set(sys.modules)
    assert found(tmp_path) == ["x_plugin.py"]
    assert set(sys.modules) == before
