"""What was read of source files is found again on the disk, as long as the files are the same."""

from __future__ import annotations

import ast
import errno
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nitro_dispatch
from nitro_dispatch.sources import cache, static
from nitro_dispatch.sources.cache import describe_file
from nitro_dispatch.sources.descriptions import FileDescription
from programs import RunPython

IMPORTS = "from nitro_dispatch import PluginBase, hook\n"
GREETER = IMPORTS + "class Greeter(PluginBase):\n    name = 'greeter'\n"
VARIED = f"""
{IMPORTS}
import os.path
from . import near
from ..far.away import Thing as Other, Another
from stars import *
from more.stars import *

CONSTANT = 1

class Base(PluginBase):
    version = "1.2"
    dependencies = ("store>=1.2", "cache")
    conflicts = ["old"]

    @hook(["a", "b.*"], priority=7.5, timeout=3, atomic=True, before="x", after=("y", "z"))
    def first(self, data, event): ...

    @hook("c", 1e999, async_hook=True)
    def second(self, data): ...

class Greeter(Base):
    name = "greeter \\ud800"
    description = str(1)

    def on_load(self): ...

    @hook("d")
    async def third(self, data): ...

class Strange(near.Base):
    name = "strange"
"""
# The type checker is told less than the tests try.
cache_module: Any = cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a cache in a folder that is not there yet, for files however new they are."""
    folder = tmp_path / "caches" / "nitro"
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", str(folder))
    monkeypatch.setattr(cache, "_TICK", -time.time_ns())
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a plugin file."""
    path = tmp_path / "greeter_plugin.py"
    path.write_text(GREETER)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are read."""
    noted: list[str] = []
    read_file = static.read_file

    def note(path: str) -> FileDescription:
        noted.append(path)
        return read_file(path)

    monkeypatch.setattr(static, "read_file", note)
    return noted


def names(path: Path) -> list[object]:
    """Describe a file and give the names of its plugins."""
    return [each.values.get("name") for each in describe_file(str(path)).classes]


def entry_of(folder: Path) -> Path:
    """Find the only entry."""
    [entry] = folder.iterdir()
    return entry


@pytest.mark.parametrize("source", ["", GREETER, VARIED], ids=["empty", "one", "varied"])
def test_what_was_read_is_not_read_again(
    folder: Path, file: Path, reads: list[str], source: str
) -> None:
    """A file is read once, and what is found of it then is equal in every part."""
    file.write_text(source)
    read = describe_file(str(file))
    assert describe_file(str(file)) == read == static.read_file(str(file))
    assert reads == [str(file)] * 2


@pytest.mark.parametrize(
    "value", ["b'x'", "{'x'}", "{1: 2}", "{'tuple': [1]}", "(('x',),)", "...", "1e999 - 1e999"]
)
def test_what_json_does_not_know_is_read_again(
    folder: Path, file: Path, reads: list[str], value: str
) -> None:
    """A value that would come back as another one is not kept."""
    file.write_text(f"{GREETER}    author = {value}\n")
    first, second = describe_file(str(file)), describe_file(str(file))
    assert repr(first) == repr(second)
    assert len(reads) == 2 or "unknown=()" not in repr(first)


def edited(file: Path) -> None:
    """Change what a file says."""
    file.write_text(f"{GREETER}    version = '2'\n".replace("greeter'", "other'"))


def edited_to_the_same_size(file: Path) -> None:
    """Change a file by as much as it was."""
    file.write_text(GREETER.replace("greeter'", "retreeg'"))


def replaced_by_an_older_one(file: Path) -> None:
    """Put a file in its place that is older."""
    edited_to_the_same_size(file)
    os.utime(file, (1, 1))


def replaced_by_one_of_the_same_time(file: Path) -> None:
    """Put a file in its place that looks the same, but for what nobody can set."""
    before = file.stat()
    other = file.with_name("other.py")
    other.write_text(GREETER.replace("greeter'", "retreeg'"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def linked_elsewhere(file: Path) -> None:
    """Put a link to another file in its place."""
    other = file.with_name("other.py")
    other.write_text(GREETER.replace("greeter'", "retreeg'"))
    file.unlink()
    file.symlink_to(other)


@pytest.mark.parametrize(
    "change",
    [
        edited,
        edited_to_the_same_size,
        replaced_by_an_older_one,
        pytest.param(
            replaced_by_one_of_the_same_time,
            marks=pytest.mark.skipif(os.name == "nt", reason="there a file can hide its change"),
        ),
        linked_elsewhere,
    ],
)
def test_a_file_that_changed_is_read_again(
    folder: Path, file: Path, change: Callable[[Path], None]
) -> None:
    """Whatever has become of a file, what is told of it is what it says now."""
    assert names(file) == ["greeter"]
    # The clock of the file system ticks some hundred times a second.
    time.sleep(0.02)
    change(file)
    assert names(file) == [each.values["name"] for each in static.read_file(file).classes]
    assert names(file) != ["greeter"]


def test_a_link_to_another_file_is_seen(folder: Path, tmp_path: Path) -> None:
    """A link that comes to point elsewhere stands for that file, also for one read before."""
    link = tmp_path / "link.py"
    for name in ("a", "b", "a"):
        target = tmp_path / f"{name}.py"
        if not target.exists():
            target.write_text(GREETER.replace("greeter'", f"{name}'"))
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target)
        assert names(link) == [name]


def test_a_renamed_file_is_another(folder: Path, file: Path) -> None:
    """A file has an entry under its path only, and the descriptions name the file."""
    [before] = describe_file(str(file)).classes
    moved = file.rename(file.with_name("moved_plugin.py"))
    [after] = describe_file(str(moved)).classes
    assert (before.path, after.path) == (str(file), str(moved))
    with pytest.raises(FileNotFoundError):
        describe_file(str(file))


def test_a_file_that_has_just_changed_is_not_kept(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next change could leave the same time: only what has stood for a while is kept."""
    monkeypatch.undo()
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", str(folder))
    assert names(file) == ["greeter"]
    assert not folder.exists()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_000_000_000)
    assert names(file) == ["greeter"]
    assert entry_of(folder).is_file()


def test_a_change_while_a_file_is_read_is_seen(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is kept for the file as it was before the reading began."""
    read_file = static.read_file

    def read_too_late(path: str) -> FileDescription:
        description = read_file(path)
        edited(file)
        return description

    monkeypatch.setattr(static, "read_file", read_too_late)
    assert names(file) == ["greeter"]
    monkeypatch.setattr(static, "read_file", read_file)
    assert names(file) == ["other"]


@pytest.mark.parametrize(
    ("content", "error"), [(b"def", SyntaxError), (b"\xff", SyntaxError), (None, OSError)]
)
def test_faults_are_not_kept(
    folder: Path, file: Path, content: Any, error: type[Exception]
) -> None:
    """A file that cannot be read raises the same each time, and leaves no entry."""
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(error):
            describe_file(str(file))
    assert not folder.exists()


def modules_behind(module: str) -> set[str]:
    """List the modules of the package that one needs, with itself, by their paths there."""
    package = Path(nitro_dispatch.__file__).parent
    needed, pending = set(), {module}
    while pending:
        needed.add(name := pending.pop())
        for node in ast.walk(ast.parse((package / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("nitro_dispatch"):
                names = [str(node.module), *(f"{node.module}.{each.name}" for each in node.names)]
                paths = {"/".join(each.split(".")[1:]) for each in names}
                pending |= {path for path in paths if (package / f"{path}.py").is_file()} - needed
    return needed


def test_the_modules_that_read_are_known() -> None:
    """What the reader is made of is all that decides what it reads."""
    assert {*cache._READING_MODULES} == modules_behind("sources/static") - {
        *("exceptions", "frozen", "late", "reports"),
    }


def test_a_reader_that_somebody_works_on_reads_for_itself(
    folder: Path, file: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was read before a module of the reader changed does not count."""
    package = tmp_path / "library"
    for name in cache._READING_MODULES:
        module = package / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("")
    monkeypatch.setattr(cache, "__file__", str(package / "sources" / "cache.py"))
    for change in (bool, module.touch, bool, lambda: module.write_text("#"), module.unlink):
        cache._state_of_reader.cache_clear()
        time.sleep(0.02)  # The clock of the file system ticks some hundred times a second.
        change()
        describe_file(str(file))
    cache._state_of_reader.cache_clear()
    assert len(reads) == 4
    assert entry_of(folder).is_file()


@pytest.mark.parametrize("reader", ["2.0.1 cpython 30d00f0", "2.0.0 cpython 30e00f0"])
def test_another_release_or_python_reads_for_itself(
    folder: Path, file: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """What another release of the library read, or another Python, does not count."""
    describe_file(str(file))
    own = cache._READER
    monkeypatch.setattr(cache, "_READER", reader)
    # Even where it has the same name.
    entry_of(folder).rename(cache_module._entry_of(str(file)))
    describe_file(str(file))
    assert len(reads) == 2
    assert own == f"{nitro_dispatch.__version__} {sys.implementation.name} {sys.hexversion:x}"


def test_files_of_one_hash_take_turns(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files whose entries have the same name are told apart."""
    monkeypatch.setattr(cache, "source_hash", lambda text: b"same")
    other = file.with_name("other_plugin.py")
    other.write_text(GREETER.replace("greeter'", "retreeg'"))
    for _ in range(2):
        assert names(file) == ["greeter"]
        assert names(other) == ["retreeg"]
    assert len(list(folder.iterdir())) == 1


# What an entry may have instead of a part that it should have.
ODD: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Name every place in a JSON document, by its container and the key there."""
    for key in range(len(value)) if isinstance(value, list) else value:
        yield value, key
        if isinstance(value[key], (list, dict)):
            yield from places_in(value[key])


def spoiled(data: st.DataObject, stamp: Any, description: Any) -> bytes:
    """Make an entry in which something is wrong."""
    text = json.dumps([stamp, description])
    kind = data.draw(st.sampled_from(["bytes", "truncated", "flipped", "shape", "part", "missing"]))
    if kind == "bytes":
        return bytes(data.draw(st.binary()))
    if kind == "truncated":
        return text[: data.draw(st.integers(0, len(text) - 1))].encode()
    if kind == "flipped":
        flipped = bytearray(text.encode())
        flipped[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
        return bytes(flipped)
    if kind == "shape":
        return json.dumps([stamp, data.draw(ODD)]).encode()
    container, key = data.draw(st.sampled_from(list(places_in(description))))
    if kind == "part":
        container[key] = data.draw(ODD)
    else:
        del container[key]
    return json.dumps([stamp, description]).encode()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoiled_entry_does_no_harm(folder: Path, file: Path, data: st.DataObject) -> None:
    """Whatever an entry holds, a description comes of it, whose parts have the right types."""
    file.write_text(VARIED)
    for entry in folder.glob("*"):
        entry.unlink()
    read = describe_file(str(file))
    entry = entry_of(folder)
    entry.write_bytes(spoiled(data, *json.loads(entry.read_bytes())))
    found = describe_file(str(file))
    assert shape_of(found) <= shape_of(read) | shape_of(static.read_file(str(file)))


SCALARS = (str, int, float, bool, type(None))


def shape_of(value: Any, place: str = "") -> set[tuple[str, type]]:
    """Tell which types are in which places of a record."""
    if isinstance(value, tuple):
        return {(place, tuple)}.union(*(shape_of(each, f"{place}[]") for each in value))
    if isinstance(value, dict):
        if place.endswith("values"):  # Of any type, and judged by those that use them.
            return {(place, dict)}
        return {(place, dict)}.union(*(shape_of(each, f"{place}{{}}") for each in value.values()))
    if isinstance(value, (int, float)) and place.endswith((".priority", ".timeout")):
        return {(place, float)}
    if isinstance(value, SCALARS):
        return {(place, type(value))}
    parts = (shape_of(part, f"{place}.{name}") for name, part in vars(value).items())
    return {(place, type(value))}.union(*parts)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"9" * 10_000 + b", 1]", b"\0", b""])
def test_an_entry_that_json_refuses_is_replaced(
    folder: Path, file: Path, reads: list[str], content: bytes
) -> None:
    """What is wrong with an entry is mended by the next reading."""
    describe_file(str(file))
    entry_of(folder).write_bytes(content)
    for _ in range(2):
        assert names(file) == ["greeter"]
    assert len(reads) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner to be known by")
def test_what_another_user_has_written_is_not_believed(
    folder: Path, file: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of somebody else's is passed over."""
    describe_file(str(file))
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    describe_file(str(file))
    assert len(reads) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_file_of_ours_is_not_waited_for(
    folder: Path,
    file: Path,
    reads: list[str],
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """A pipe in the place of an entry is not read, nor is a link; an entry takes its place."""
    describe_file(str(file))
    entry = entry_of(folder)
    if kind == "pipe":
        entry.unlink()
        os.mkfifo(entry)
    else:
        entry.symlink_to(entry.rename(file.with_name("entry")))
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            assert names(file) == ["greeter"]
    assert len(reads) == 2
    assert entry.is_file()
    assert not entry.is_symlink()
    [message] = caplog.messages
    assert str(entry) in message
    assert str(file) in message


@pytest.mark.skipif(os.name == "nt", reason="modes do not tell rights")
def test_nobody_else_may_look_or_write(folder: Path, file: Path) -> None:
    """The folder and the entries in it are the user's alone, whatever the mask."""
    mask = os.umask(0)
    try:
        describe_file(str(file))
    finally:
        os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert entry_of(folder).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("obstacle", ["file", "full", "folder"])
def test_a_cache_that_cannot_be_written_makes_no_noise(
    folder: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    obstacle: str,
) -> None:
    """Where nothing can be kept the file is read each time, and nothing is left or said."""
    if obstacle == "file":
        folder.parent.mkdir()
        folder.write_text("")
    elif obstacle == "folder":
        Path(cache_module._entry_of(str(file))).mkdir(parents=True)
    else:

        def fail(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr(os, "replace", fail)
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            assert names(file) == ["greeter"]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert all(str(folder) in text and str(file) in text for text in caplog.messages)
    if folder.is_dir():
        assert len(list(folder.iterdir())) == (obstacle == "folder")


def test_a_folder_that_cannot_be_used_is_told_of_once(
    folder: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no entry can be kept one line says so, however many files are read."""
    folder.parent.mkdir()
    folder.write_text("")
    others = [file.with_name(f"{number}_plugin.py") for number in range(5)]
    with caplog.at_level(logging.DEBUG):
        for each in others:
            each.write_text(GREETER)
            describe_file(str(each))
    reading, writing = caplog.messages
    assert ("cannot be read" in reading, "cannot be written" in writing) == (True, True)


def test_an_interrupted_writer_leaves_nothing(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt while an entry is written passes, and no half of it stays."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        describe_file(str(file))
    assert list(folder.iterdir()) == []


def test_many_may_write_at_once(folder: Path, file: Path) -> None:
    """Threads that describe one file at once, while its entry comes and goes, all describe it."""
    found: list[object] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(60)
        for _ in range(20):
            found.extend(names(file))
            for entry in folder.glob("*[!.]"):
                entry.unlink(missing_ok=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["greeter"] * 160


@pytest.mark.parametrize("value", ["off", "0", "no", "caches", "./caches"])
def test_all_but_an_absolute_path_switches_it_off(
    folder: Path,
    file: Path,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str,
) -> None:
    """Nothing is kept, least of all in a folder of that name wherever the program runs."""
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", value)
    cache._folder.cache_clear()
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            assert names(file) == ["greeter"]
    assert len(reads) == 2
    assert os.listdir() == [file.name]
    said = [
        f"NITRO_DISPATCH_CACHE={value!r} is no absolute path" in each for each in caplog.messages
    ]
    assert said == ([] if value == "off" else [True])


def test_the_folder_may_be_in_the_home(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tilde stands for the user's home, as it does in a shell."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder.parent))
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", "~/nitro")
    assert names(file) == ["greeter"]
    assert entry_of(folder).is_file()


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Ask anew where the cache is by default."""
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", "")

    def ask() -> str:
        cache._folder.cache_clear()
        return str(cache._folder(""))

    yield ask
    cache._folder.cache_clear()


@pytest.mark.parametrize("caches", [None, "", "/caches", "relative"])
@pytest.mark.parametrize("platform", [sys.platform, "another"])
def test_by_default_it_is_where_the_user_keeps_caches(
    default: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    caches: object,
) -> None:
    """The folder is the one that platformdirs names, also where that is not asked."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if caches is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    expected = platformdirs.user_cache_dir("nitro_dispatch", appauthor=False)
    if not os.path.isabs(expected):
        pytest.skip("this release of platformdirs takes what the specification says to ignore")
    monkeypatch.setattr(sys, "platform", platform)
    assert default() == expected


@pytest.mark.parametrize("platform", [sys.platform, "another"])
@pytest.mark.parametrize("home", ["untold", "empty"])
def test_without_a_home_nothing_is_kept(
    default: Callable[[], str],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    home: str,
) -> None:
    """Where the user's home cannot be told, files are read; nothing is kept in the root."""

    def fail(*arguments: object, **options: object) -> str:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home == "empty":
        monkeypatch.setenv("HOME", "")
    else:
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        monkeypatch.setattr(platformdirs, "user_cache_dir", fail)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.chdir(file.parent)
    assert default() == ""
    assert names(file) == ["greeter"]
    assert os.listdir() == [file.name]


def test_a_second_start_reads_no_source(folder: Path, file: Path, run_python: RunPython) -> None:
    """The second start of a lazy manager does not even import what reads source files."""
    program = f"""
import sys
from nitro_dispatch import PluginManager
from nitro_dispatch.sources import cache
cache._TICK = {-time.time_ns()}
manager = PluginManager(lazy=True)
assert manager.discover_plugins({str(file.parent)!r}) == manager.load_all() == ["greeter"]
print(sorted(name for name in sys.modules if "ast" in name.split(".") or "static" in name))
"""
    printed = [run_python(program) for _ in range(2)]
    assert printed == ["['ast', 'nitro_dispatch.sources.static']\n", "[]\n"]
