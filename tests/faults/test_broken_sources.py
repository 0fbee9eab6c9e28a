"""A broken file, class or distribution never hides a good one, whatever is wrong with it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Callable, Union

import pytest

from nitro_dispatch import PluginManager

HEAD = "import sys\nfrom nitro_dispatch import PluginBase, hook\n"
PLUGIN = """
class Greeter(PluginBase):
    name = "{name}"

    @hook("greet")
    def greet(self, data):
        return [*data, "{name}"]
"""
BROKEN = PLUGIN.format(name="broken")
PLACES = {"first": "a", "in the middle": "m", "last": "z"}
GOOD = ["before", "after"]


def with_line(line: str) -> str:
    """Make a plugin with another line in its body."""
    return f"{HEAD}{BROKEN}    {line}\n"


def raising(error: str) -> str:
    """Make a plugin whose module raises something once all is defined."""
    return f"{HEAD}{BROKEN}{error}\n"


def with_metaclass(*methods: str) -> str:
    """Make a plugin whose class has a metaclass of its own, which it has from PluginBase too."""
    body = "".join(f"    {method}\n" for method in methods)
    bases = "(PluginBase, metaclass=Meta)"
    return f"{HEAD}class Meta(type(PluginBase)):\n{body}{BROKEN.replace('(PluginBase)', bases)}"


# What is wrong with a module, and what its failure says.
MODULES: dict[str, tuple[Union[str, bytes], str]] = {
    "no Python": ("class (:\n", "m_odule|invalid syntax|expected"),
    "a null byte": (f"{HEAD}{BROKEN}\0", "null bytes"),
    "bytes of no encoding": (f"{HEAD}{BROKEN}x = ".encode() + b"'\xff'\n", "utf-8"),
    "an unknown encoding": (f"# coding: no-such\n{HEAD}{BROKEN}", "no-such"),
    "brackets without an end": ("(" * 10_000, "parenthes|too many"),
    "an end of another kind": (f"{HEAD}{BROKEN}  \t  x = 1\n", "indent"),
    "an error": (raising("1 / 0"), "division by zero"),
    "an error without a text": (raising("raise ValueError"), "ValueError"),
    "an import of what is missing": (raising("import no_such_module"), "no_such_module"),
    "a wrong relative import": (
        raising("from ....far import x"),
        "relative import|no_such|package",
    ),
    "an exit": (raising("raise SystemExit('has gone')"), "has gone"),
    "an exit in good order": (raising("sys.exit()"), "SystemExit"),
    "a failed assertion": (raising("assert 0, 'is wrong'"), "is wrong"),
    "no memory": (raising("raise MemoryError('is full')"), "is full"),
    "the end of an iterator": (raising("raise StopIteration('ends')"), "ends"),
    "the end of an async iterator": (raising("raise StopAsyncIteration('ends')"), "ends"),
    "recursion": (raising("def f(): f()\nf()"), "recursion"),
    "recursion of its import": (
        raising("import importlib\ndef f(): importlib.import_module(__name__); f()\nf()"),
        "recursion",
    ),
    "an error that cannot say what it is": (
        raising("class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd"),
        "Odd",
    ),
    "an error whose text exits": (
        raising("class Odd(Exception):\n    def __str__(self): sys.exit()\nraise Odd"),
        "Odd",
    ),
    "another object in its place": (
        raising("sys.modules[__name__] = 3"),
        "'int' object|no concrete subclass",
    ),
    "nothing in its place": (raising("sys.modules[__name__] = None"), "None"),
    "no module any more": (raising("del sys.modules[__name__]"), "KeyError"),
    "a class that refuses to be": (with_metaclass("def __new__(*a, **k): 1 / 0"), "division"),
    "a base that refuses subclasses": (
        f"{HEAD}class Base(PluginBase):\n    def __init_subclass__(cls): 1 / 0\n"
        + BROKEN.replace("PluginBase", "Base"),
        "division",
    ),
    "an attribute that refuses its name": (
        f"{HEAD}class Odd:\n    def __set_name__(self, *a): 1 / 0\n{BROKEN}    x = Odd()\n",
        "division|__set_name__",
    ),
    "a metaclass that cannot tell": (
        with_metaclass("version = property(lambda cls: 1 / 0)") + "    version = '1'\n",
        "division",
    ),
    "an empty name": (with_line("name = ''"), "name must be"),
    "no name": (with_line("name = None"), "name must be"),
    "a name worked out for instances": (with_line("name = property(lambda self: 1)"), "name must"),
    "a version that is a number": (with_line("version = 3"), "version must be"),
    "a version of too many digits": (with_line(f"version = 0x{'f' * 9_000}"), "version must be"),
    "a description in bytes": (with_line("description = b''"), "description must be"),
    "dependencies in a text": (with_line("dependencies = 'store'"), "dependencies must be a list"),
    "dependencies in a mapping": (
        with_line("dependencies = {1: 2}"),
        "dependencies must be a list",
    ),
    "dependencies that are numbers": (with_line("dependencies = [1]"), "is not a string"),
    "dependencies made late": (with_line("dependencies = (x for x in 'ab')"), "must be a list"),
    "a wrong requirement": (with_line("conflicts = ['store>>1']"), "store>>1"),
    "a Python that is none": (with_line("requires_python = 'soon'"), "requires_python must be"),
    "no event": (with_line("@hook\n    def f(self, data): pass"), "@hook needs"),
    "an empty event": (with_line("@hook('')\n    def f(self, data): pass"), "must not be empty"),
    "a hook that is no function": (with_line("f = hook('x')(3)"), "decorates a function"),
    "a priority in words": (
        with_line("@hook('x', 'high')\n    def f(self, data): pass"),
        "priority",
    ),
    "a time limit below zero": (with_line("@hook('x', timeout=-1)\n    def f(s, d): 0"), "timeout"),
    "stacked decorators": (with_line("@hook('x')\n    @hook('y')\n    def f(s, d): 0"), "stacked"),
}


def prepare_folder(tmp_path: Path, place: str, content: Union[str, bytes]) -> str:
    """Write plugin files, a broken one among them, and name that."""
    for stem, name in zip("gt", GOOD):
        (tmp_path / f"{stem}_plugin.py").write_text(HEAD + PLUGIN.format(name=name))
    path = tmp_path / f"{place}_plugin.py"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def prepare_distributions(tmp_path: Path, place: str, content: Union[str, bytes]) -> str:
    """Install distributions with a plugin each, a broken one among them, and name that."""
    for stem, name in zip("gt", GOOD):
        install(tmp_path, f"{stem}_good", f"x = sample_{name}:Greeter")
        (tmp_path / f"sample_{name}.py").write_text(HEAD + PLUGIN.format(name=name))
    install(tmp_path, f"{place}_odd", "x = sample_m_odd:Greeter")
    path = tmp_path / "sample_m_odd.py"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return f"{place}_odd 1.0"


def install(site: Path, name: str, entry_points: str) -> Path:
    """Write the metadata of a distribution."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[odd.plugins]\n{entry_points}\n")
    return info


Prepare = Callable[[Path, str, Union[str, bytes]], str]
SOURCES: dict[str, Prepare] = {"folder": prepare_folder, "distributions": prepare_distributions}


def discover(manager: PluginManager, tmp_path: Path, source: str) -> list[str]:
    """Discover what was prepared."""
    if source == "folder":
        return manager.discover_plugins(tmp_path)
    return manager.discover_entry_points("odd.plugins")


@pytest.fixture(autouse=True)
def folder_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_as_before: None
) -> None:
    """Put the test's folder on the path, and forget afterwards what was imported from it."""
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", MODULES)
def test_a_broken_module_hides_no_good_one(
    tmp_path: Path, fault: str, place: str, source: str, lazy: bool
) -> None:
    """Whatever is wrong with a module, the others work, it is told what is wrong, and mends."""
    content, expected = MODULES[fault]
    origin = SOURCES[source](tmp_path, PLACES[place], content)
    manager = PluginManager(lazy=lazy)
    assert [name for name in discover(manager, tmp_path, source) if name in GOOD] == GOOD
    assert [name for name in manager.load_all() if name in GOOD] == GOOD
    assert manager.trigger("greet", []) == GOOD
    assert manager.failures
    for key, failure in manager.failures.items():
        assert failure.origin.startswith(origin)
        assert key == (failure.name or failure.origin)
        assert failure.stage in ("describe", "import")
        told = f"{type(failure.error).__name__} {failure}"
        assert any(part.lower() in told.lower() for part in expected.split("|")), told

    for name in ("sample_m_odd.py", f"{PLACES[place]}_plugin.py"):
        if (tmp_path / name).exists():
            (tmp_path / name).write_text(HEAD + PLUGIN.format(name="mended"))
    for name in set(manager.get_registered_plugins()) - set(GOOD):
        manager.unregister(name)
    discover(manager, tmp_path, source)
    manager.load_all()
    assert sorted(manager.trigger("greet", [])) == sorted([*GOOD, "mended"])
    assert manager.failures == {}
    manager.unload_all()


HARMLESS: dict[str, str] = {
    "a module without attributes": f"def __getattr__(name): raise OSError(name)\n{HEAD}{BROKEN}",
    "an __all__ that lies": f"__all__ = ['nothing', 3]\n{HEAD}{BROKEN}",
    "a falsy class": with_metaclass("def __bool__(cls): return False"),
    "a class that is empty": with_metaclass("def __len__(cls): return 0"),
    "a class that cannot be compared": with_metaclass(
        "def __eq__(cls, other): raise OSError", "__hash__ = type.__hash__"
    ),
    "a class without a hash": with_metaclass("def __eq__(cls, other): return cls is other"),
    "a class that cannot be hashed": with_metaclass("def __hash__(cls): raise OSError"),
    "a class that cannot be shown": with_metaclass("def __repr__(cls): raise OSError"),
    "an alias": f"{HEAD}{BROKEN}Alias = Again = Greeter\n",
    "a class that is gone": f"{HEAD}class Gone(PluginBase):\n    name = 'gone'\n{BROKEN}del Gone\n",
    "an abstract class": f"import abc\n{HEAD}class Base(PluginBase, abc.ABC):\n"
    f"    @abc.abstractmethod\n    def must(self): pass\n{BROKEN}",
    "an object that cannot tell its class": f"{HEAD}class Odd:\n"
    f"    __class__ = property(lambda self: 1 / 0)\nodd = Odd()\n{BROKEN}",
}


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("oddity", HARMLESS)
def test_what_is_only_odd_works(tmp_path: Path, oddity: str, source: str, lazy: bool) -> None:
    """What is odd about a module or a class and breaks nothing is no failure."""
    SOURCES[source](tmp_path, "m", HARMLESS[oddity])
    manager = PluginManager(lazy=lazy)
    discover(manager, tmp_path, source)
    manager.load_all()
    assert manager.trigger("greet", []) == ["before", "broken", "after"]
    assert manager.failures == {}
    manager.unload_all()


# What may be wrong with a class hides no other class of the same file.
CLASSES = {
    "metadata": "class Odd(PluginBase):\n    version = 3\n",
    "a name": "class Odd(PluginBase):\n    name = ''\n",
    "a metaclass": "class Meta(type(PluginBase)):\n    version = property(lambda cls: 1 / 0)\n"
    "class Odd(PluginBase, metaclass=Meta):\n    version = '1'\n",
    "all that tells what it is": "class Meta(type(PluginBase)):\n"
    "    def __getattribute__(cls, name):\n"
    "        if name in ('__name__', '__qualname__', '__module__', '__flags__'): raise OSError\n"
    "        return super().__getattribute__(name)\n"
    "class Odd(PluginBase, metaclass=Meta):\n    pass\n",
}


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("fault", CLASSES)
def test_a_broken_class_hides_no_other_of_its_file(
    tmp_path: Path, fault: str, is_first: bool, lazy: bool
) -> None:
    """Beside a class that cannot be registered, the others of the file are found and work."""
    classes = [CLASSES[fault], PLUGIN.format(name="before")]
    content = HEAD + "".join(classes if is_first else reversed(classes))
    (tmp_path / "a_plugin.py").write_text(content)
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(tmp_path)
    assert "before" in manager.load_all()
    assert manager.trigger("greet", []) == ["before"]
    assert manager.failures
    for failure in manager.failures.values():
        assert failure.origin.startswith(str(tmp_path / "a_plugin.py"))
    manager.unload_all()


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("place", PLACES)
def test_a_broken_class_does_not_spoil_the_name_of_a_good_one(
    tmp_path: Path, place: str, lazy: bool
) -> None:
    """What is wrong with a class of a good plugin's name is not held against the good one."""
    prepare_folder(tmp_path, PLACES[place], f"{HEAD}{PLUGIN.format(name='after')}    version = 3\n")
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == GOOD
    states = {info.metadata.name: info.state for info in manager.describe()}
    assert states == dict.fromkeys(GOOD, "registered")
    assert manager.load_all() == GOOD
    assert manager.trigger("greet", []) == GOOD
    [(key, failure)] = manager.failures.items()
    assert key == failure.origin
    assert failure.stage == "describe"
    manager.unload_all()


def spoil(info: Path, fault: str) -> None:
    """Make something wrong with the metadata of a distribution."""
    metadata, entry_points = info / "METADATA", info / "entry_points.txt"
    if fault == "no metadata":
        metadata.unlink()
    elif fault == "metadata that are none":
        metadata.write_bytes(b"\0\xff" * 500)
    elif fault == "metadata in a folder":
        metadata.unlink()
        metadata.mkdir()
    elif fault == "no entry points":
        entry_points.unlink()
    elif fault == "a file for a folder":
        shutil.rmtree(info)
        info.write_text("[odd.plugins]")
    elif fault == "an egg that is none":
        shutil.rmtree(info)
        (info.parent / "odd-1.0.egg").write_bytes(b"PK\3\4 this is no archive")
        sys.path.insert(0, str(info.parent / "odd-1.0.egg"))
    elif fault == "an empty egg-info":
        shutil.rmtree(info)
        info.with_suffix(".egg-info").write_text("")
    elif fault == "entry points in a folder":
        entry_points.unlink()
        entry_points.mkdir()
    elif fault == "entry points in a circle":
        entry_points.unlink()
        entry_points.symlink_to(entry_points.name)
    elif fault == "entry points of another encoding":
        entry_points.write_text("[odd.plugins]\nx = a:B", encoding="utf-16")
    else:
        entry_points.write_text(f"[odd.plugins]\n{fault}\n")


# What is wrong with a distribution, and what its failure says; "" where that is no fault.
DISTRIBUTIONS = {
    "no entry points": "",
    "a file for a folder": "",
    "an empty egg-info": "",
    "an egg that is none": "",
    "entry points in a folder": "directory",
    "entry points in a circle": "symbolic links",
    "entry points of another encoding": "utf-8",
    "x": "should stand",
    "x =": "should stand",
    "= sample_odd:Greeter": "should stand",
    "x = sample odd:Greeter": "should stand",
    "x = sample_odd:Greeter:Greeter": "should stand",
    "x = sample_odd:": "should stand",
    "x = :Greeter": "should stand",
    "x = 3sample:Greeter": "should stand",
    "[": "in [brackets]",
    "[odd.plugins]": "a second time",
    "x = sample_missing:Greeter": "sample_missing",
    "x = sample_missing.deep:Greeter": "sample_missing",
    "x = sample_before:Missing": "Missing",
    "x = sample_before:Greeter.missing": "missing",
    "x = sample_before:Greeter.greet": "no concrete subclass",
    "x = sample_before:hook": "no concrete subclass",
    "x = sample_before:PluginBase": "no concrete subclass",
    "x = sample_before:sys.path": "no concrete subclass",
    "x = builtins:Ellipsis": "no concrete subclass",
}


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", DISTRIBUTIONS)
def test_a_broken_distribution_hides_no_good_one(
    tmp_path: Path, fault: str, place: str, lazy: bool
) -> None:
    """Whatever is wrong with the metadata of a distribution, the others work, and it mends."""
    prepare_distributions(tmp_path, PLACES[place], HEAD)
    name = f"{PLACES[place]}_odd"
    info = tmp_path / f"{name}-1.0.dist-info"
    spoil(info, fault)
    manager = PluginManager(lazy=lazy)
    assert manager.discover_entry_points("odd.plugins") == GOOD
    assert manager.load_all() == GOOD
    assert manager.trigger("greet", []) == GOOD
    told = [str(failure) for failure in manager.failures.values()]
    assert len(told) == bool(DISTRIBUTIONS[fault])
    for failure in manager.failures.values():
        assert DISTRIBUTIONS[fault].lower() in str(failure).lower()
        assert failure.origin.startswith(f"{name} 1.0")
        assert failure.stage in ("discover", "import")

    shutil.rmtree(info) if info.is_dir() else info.unlink(missing_ok=True)
    install(tmp_path, name, "x = sample_mended:Greeter")
    (tmp_path / "sample_mended.py").write_text(HEAD + PLUGIN.format(name="mended"))
    assert "mended" in manager.discover_entry_points("odd.plugins")
    manager.load_all()
    assert manager.failures == {}
    assert sorted(manager.trigger("greet", [])) == sorted([*GOOD, "mended"])
    manager.unload_all()


@pytest.mark.parametrize("fault", ["no metadata", "metadata that are none", "metadata in a folder"])
def test_broken_metadata_keep_no_plugin_from_being_found(tmp_path: Path, fault: str) -> None:
    """Where its metadata tell nothing a distribution is named by its folder, and found."""
    prepare_distributions(tmp_path, "m", HEAD + BROKEN)
    spoil(tmp_path / "m_odd-1.0.dist-info", fault)
    manager = PluginManager()
    assert manager.discover_entry_points("odd.plugins") == ["before", "broken", "after"]
    assert manager.failures == {}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read any file")
@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
@pytest.mark.parametrize("place", PLACES)
def test_an_unreadable_file_hides_no_good_one(tmp_path: Path, place: str, lazy: bool) -> None:
    """A file that may not be read is a failure, wherever it stands, and mends."""
    origin = prepare_folder(tmp_path, PLACES[place], HEAD + BROKEN)
    Path(origin).chmod(0)
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == GOOD
    [failure] = manager.failures.values()
    assert (failure.origin, failure.stage) == (origin, "discover")
    Path(origin).chmod(0o600)
    assert sorted(manager.discover_plugins(tmp_path)) == sorted([*GOOD, "broken"])
    assert manager.failures == {}


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "lazy"])
def test_what_is_no_file_hides_no_good_one(tmp_path: Path, lazy: bool) -> None:
    """Folders and links in the place of files are passed over, or failures, beside good files."""
    prepare_folder(tmp_path, "m", "")
    for stem in "bnz":
        (tmp_path / f"{stem}_plugin.py").mkdir()
        (tmp_path / f"{stem}{stem}_plugin").mkdir()
        (tmp_path / f"{stem}_loop_plugin.py").symlink_to(f"{stem}_loop_plugin.py")
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == GOOD
    assert {Path(key).name for key in manager.failures} == {
        "b_loop_plugin.py",
        "n_loop_plugin.py",
        "z_loop_plugin.py",
    }


@pytest.mark.parametrize(
    ("fault", "lazy"), [("an error", False), ("no Python", False), ("no Python", True)]
)
def test_what_is_gone_is_no_longer_wrong(tmp_path: Path, fault: str, lazy: bool) -> None:
    """A broken file is forgotten when its folder is searched again without it."""
    broken = tmp_path / "broken_plugin.py"
    source = MODULES[fault][0]
    broken.write_bytes(source if isinstance(source, bytes) else source.encode())
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(tmp_path)
    manager.load_all()
    assert len(manager.failures) == 1
    broken.unlink()
    manager.discover_plugins(tmp_path / ".", pattern="*n.py")
    assert len(manager.failures) == 1
    manager.discover_plugins(tmp_path)
    assert manager.failures == {}
