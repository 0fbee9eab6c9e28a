"""What a source finds, and what can be read of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Optional

import pytest

from nitro_dispatch.exceptions import PluginDiscoveryError
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources import NothingThere
from nitro_dispatch.sources.candidate import DISCOVERED_PACKAGE, Candidate, find_source

IMPORT = "from nitro_dispatch import PluginBase\n"


def plugin(class_name: str) -> str:
    """Write the source of a plugin class which is named after itself."""
    return f"{IMPORT}class {class_name}(PluginBase):\n    name = {class_name.lower()!r}\n"


def write(folder: Path, files: dict[str, str]) -> None:
    """Write source files, each of which would fail if it were imported."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\nraise SystemExit('imported')\n", encoding="utf-8")


def entry_point(folder: Path, reference: str) -> Candidate:
    """Make the candidate of an entry point, whose module is in a folder."""
    module, _, attribute = reference.partition(":")
    path = find_source(module, [str(folder)])
    return Candidate(
        origin=Origin("nitro-audit", "1.0.0", f"audit = {reference}"),
        module=module,
        path=path,
        attribute=attribute,
        is_package=path.endswith("__init__.py"),
    )


def package(folder: Path) -> Candidate:
    """Make the candidate of a package in a folder of plugins."""
    path = str(folder / "x_plugin" / "__init__.py")
    module = f"{DISCOVERED_PACKAGE}.x_plugin_0123"
    return Candidate(Origin(file=path), module, path, is_package=True)


def described(candidate: Candidate) -> list[str]:
    """Tell the names of the plugins that a candidate describes, importing nothing."""
    before = set(sys.modules)
    names = [str(each.values["name"]) for each in candidate.describe()]
    # What reads is imported when something is first read.
    imported = {name for name in sys.modules if not name.startswith("nitro_dispatch.sources.")}
    assert imported <= before
    return names


def refusal(candidate: Candidate, *, nothing: bool = False) -> str:
    """Tell why a candidate cannot be described without importing it, or that it is nothing."""
    text = "cannot be imported" if nothing else "cannot be read without importing"
    with pytest.raises(PluginDiscoveryError, match=text) as caught:
        candidate.describe()
    assert isinstance(caught.value, NothingThere) is nothing
    assert caught.value.origin == str(candidate.origin)
    assert str(caught.value).startswith(str(candidate.origin))
    return str(caught.value)


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("json", "json/__init__.py"),
        ("json.decoder", "json/decoder.py"),
        ("xml.etree.ElementTree", "xml/etree/ElementTree.py"),
        ("ast", "ast.py"),
    ],
)
@pytest.mark.parametrize("with_path", [True, False])
def test_finds_the_source_of_a_module(module: str, file: str, with_path: bool) -> None:
    """The file is the one that an import would load, for a package its `__init__.py`."""
    path = find_source(module, sys.path if with_path else None)
    assert os.path.isabs(path)
    assert Path(path).as_posix().endswith(f"/{file}")


@pytest.mark.parametrize(
    "module", ["sys", "_frozen_importlib", "os.path", "json.missing", "missing.json"]
)
def test_a_module_without_a_source_has_no_path(module: str) -> None:
    """What is built in, missing, or no module in a package has no source file."""
    assert find_source(module) == ""


def test_a_file_describes_its_classes(tmp_path: Path) -> None:
    """A file's candidate describes each plugin class that it defines, and no imported one."""
    write(tmp_path, {"x.py": f"{plugin('A')}from y import B\n{plugin('C')}", "y.py": plugin("B")})
    path = str(tmp_path / "x.py")
    module = f"{DISCOVERED_PACKAGE}.x_0123"
    assert described(Candidate(Origin(file=path), module, path)) == ["a", "c"]


def test_a_broken_candidate_raises_its_error() -> None:
    """What a source found broken cannot be described, and says why."""
    error = PermissionError("not allowed")
    candidate = Candidate(Origin(file="x.py"), "x", "x.py", error=error, stage="discover")
    with pytest.raises(PermissionError, match="not allowed"):
        candidate.describe()


@pytest.mark.parametrize(
    ("text", "error"), [("def", SyntaxError), ("\0", (SyntaxError, ValueError)), (None, OSError)]
)
def test_faults_of_the_file_are_raised(
    tmp_path: Path, text: Optional[str], error: type[Exception]
) -> None:
    """A file that cannot be read, or is not Python, raises what reading it raises."""
    if text is not None:
        write(tmp_path, {"x.py": text})
    path = str(tmp_path / "x.py")
    for attribute in ("", "X"):
        with pytest.raises(error):
            Candidate(Origin(file=path), "x", path, attribute).describe()


@pytest.mark.parametrize("module", ["sys", "_frozen_importlib", "os.path", "a.compiled"])
def test_a_missing_source_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """A candidate of a module that has no source file says so."""
    write(tmp_path, {"a/__init__.py": "", "a/compiled.pyc": ""})
    monkeypatch.syspath_prepend(tmp_path)
    for reference in (f"{module}:X", module):
        assert f"no source file of the module {module}" in refusal(entry_point(tmp_path, reference))


@pytest.mark.parametrize("module", ["missing", "missing.module", "json.missing", "ast.missing"])
def test_a_missing_module_is_told(tmp_path: Path, module: str) -> None:
    """A candidate of a module that no import would find says so."""
    for reference in (f"{module}:X", module):
        told = refusal(entry_point(tmp_path, reference), nothing=True)
        assert f"there is no module {module}" in told


@pytest.mark.parametrize("finder", [object(), type("Failing", (), {"find_spec": "not callable"})()])
def test_a_finder_that_fails_leaves_open_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finder: object
) -> None:
    """Where a finder of modules cannot be asked, nothing is said to be missing in a package."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    assert "no source file" in refusal(entry_point(tmp_path, "json.missing"))


def test_an_entry_point_describes_its_class_only(tmp_path: Path) -> None:
    """Of two classes in the file the named one is described, under whatever name it is bound."""
    write(tmp_path, {"a.py": f"{plugin('A')}{plugin('B')}Alias = A\n"})
    assert described(entry_point(tmp_path, "a:B")) == ["b"]
    assert described(entry_point(tmp_path, "a:Alias")) == ["a"]


def test_an_entry_point_may_name_a_module(tmp_path: Path) -> None:
    """Without an attribute, or with one that is a module, each class of that is described."""
    write(
        tmp_path,
        {
            "a/__init__.py": "from . import b",
            "a/b.py": f"{plugin('B')}{plugin('C')}",
        },
    )
    assert described(entry_point(tmp_path, "a.b")) == ["b", "c"]
    assert described(entry_point(tmp_path, "a:b")) == ["b", "c"]


@pytest.mark.parametrize(
    ("importing", "attribute"),
    [
        ("from .b import B", "B"),
        ("from .b import B as X", "X"),
        ("from a.b import B", "B"),
        ("from a import b", "b.B"),
        ("from . import b", "b.B"),
        ("from . import b as c", "c.B"),
        ("import a.b", "a.b.B"),
        ("import a.b as c", "c.B"),
        ("import a.b\nX = a.b.B", "X"),
        ("from .c import B", "B"),
        ("from .c import module", "module.B"),
        ("from .d import B", "B"),
        ("from .d.e import B", "B"),
        ("from .d.e import X", "X"),
        ("from .n.m import B", "B"),
        ("from .n import m", "m.B"),
        ("from .b import *", "B"),
        ("try:\n    from .b import B\nexcept ImportError:\n    raise", "B"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "top."])
def test_follows_imports_inside_the_package(
    tmp_path: Path, importing: str, attribute: str, prefix: str
) -> None:
    """A class that the package's modules hand on is found where it is defined."""
    folder = tmp_path / prefix.strip(".")
    write(
        folder,
        {
            "a/__init__.py": importing.replace("a.b", f"{prefix}a.b").replace(
                "from a ", f"from {prefix}a "
            ),
            "a/b.py": f"{plugin('A')}{plugin('B')}",
            "a/c.py": "from .b import B\nfrom . import b as module",
            "a/d/__init__.py": "from .e import B",
            "a/d/e.py": "from ..b import B\nfrom ..c import B as X",
            "a/n/m.py": "from ..b import B",
        },
    )
    attribute = attribute.replace("a.b", f"{prefix}a.b")
    assert described(entry_point(tmp_path, f"{prefix}a:{attribute}")) == ["b"]


def test_follows_imports_from_a_module_of_the_package(tmp_path: Path) -> None:
    """The way may begin in any module of a package, and lead up through its parents."""
    write(
        tmp_path,
        {
            "a/__init__.py": "",
            "a/b/__init__.py": "from ..c import C",
            "a/b/d.py": "from . import C as X\nfrom ..c import C as Y\nfrom a.c import C as Z",
            "a/c.py": plugin("C"),
        },
    )
    for name in "XYZ":
        assert described(entry_point(tmp_path, f"a.b.d:{name}")) == ["c"]


def test_follows_imports_in_a_package_of_another_folder_name(tmp_path: Path) -> None:
    """An editable install's folder may have another name than the package."""
    write(tmp_path, {"src/__init__.py": "from nitro.b import B", "src/b.py": plugin("B")})
    path = str(tmp_path / "src" / "__init__.py")
    assert described(Candidate(Origin(), "nitro", path, "B", is_package=True)) == ["b"]


@pytest.mark.parametrize(
    ("text", "attribute", "reason"),
    [
        ("X = make()", "X", "what is X in {path} cannot be told"),
        ("def X(): ...", "X", "what is X in {path} cannot be told"),
        ("X = 1", "X.Y", "what is X in {path} cannot be told"),
        ("Ä = make()", "Ä", "what is Ä in {path} cannot be told"),
        ("class X: ...", "X", "X in {path} does not look like a plugin"),
        ("class X:\n    class Y: ...", "X.Y", "X.Y is inside of a class in {path}"),
        ("from other import X", "X", "X in {path} is imported from other, of which"),
        ("from nitro_dispatch import PluginBase", "PluginBase", "imported from nitro_dispatch"),
        ("from .. import X", "X", "X in {path} is imported from outside of all packages"),
        ("from .missing import X", "X", "X in {path} is imported from"),
        ("from . import X", "X", "X in {path} is imported from"),
        ("'X is made by a caller'", "X", "what is X in {path} cannot be told"),
        ("globals().update(make())", "X", "what is X in {path} cannot be told"),
        ("import sys\nsys.modules[__name__] = make()", "X", "what is X in {path} cannot be told"),
        ("from y import __getattr__", "X", "what is X in {path} cannot be told"),
        ("from y import *\nfrom z import *", "X", "what is X in {path} cannot be told"),
        ("try:\n    from .b import X\nexcept ImportError:\n    from .c import X", "X", "told"),
    ],
)
@pytest.mark.parametrize("file", ["a.py", "a/__init__.py"])
def test_what_only_an_import_can_tell_is_refused(
    tmp_path: Path, text: str, attribute: str, reason: str, file: str
) -> None:
    """An attribute that is no class to be read says what it is, and where."""
    write(tmp_path, {file: text})
    assert reason.format(path=tmp_path / file) in refusal(entry_point(tmp_path, f"a:{attribute}"))


@pytest.mark.parametrize(("text", "attribute"), [("", "X.Y"), ("", "print"), ("Xs = 1", "X")])
@pytest.mark.parametrize("file", ["a.py", "a/__init__.py"])
def test_a_name_that_is_not_in_the_module_is_told(
    tmp_path: Path, text: str, attribute: str, file: str
) -> None:
    """An attribute is missing that is not written in a module whose source tells all its names."""
    write(tmp_path, {file: text})
    told = refusal(entry_point(tmp_path, f"a:{attribute}"), nothing=True)
    assert f"there is no {attribute.partition('.')[0]} in {tmp_path / file}" in told


@pytest.mark.parametrize("importing", ["from ..a.b import B", "from x.b import B", "import b"])
def test_looks_for_modules_only_where_an_import_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importing: str
) -> None:
    """A relative import from beyond the package, or from another one, finds nothing in it."""
    write(tmp_path, {"a/__init__.py": f"{importing}\nX = b.B", "a/b.py": plugin("B")})
    monkeypatch.chdir(tmp_path / "a")
    refusal(entry_point(tmp_path, f"a:{'X' if importing == 'import b' else 'B'}"))


def test_a_module_that_is_no_package_has_no_modules_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a single module claims to import from itself is not looked for beside it."""
    write(tmp_path, {"a.py": "from a.b import B", "b.py": plugin("B")})
    monkeypatch.chdir(tmp_path)
    refusal(entry_point(tmp_path, "a:B"))


def test_a_namespace_package_binds_nothing(tmp_path: Path) -> None:
    """A name that is no module in a namespace package is refused, with the package's name."""
    write(tmp_path, {"a/__init__.py": "from .n import B", "a/n/m.py": plugin("B")})
    assert "what is B in a.n cannot be told" in refusal(entry_point(tmp_path, "a:B"))


def test_the_last_class_of_a_name_is_described(tmp_path: Path) -> None:
    """Of two classes of one name in a file an entry point describes one, the later."""
    later = plugin("X").replace("'x'", "'later'")
    write(tmp_path, {"a.py": f"{plugin('X')}Old = X\n{later}"})
    assert described(entry_point(tmp_path, "a")) == ["x", "later"]
    assert described(entry_point(tmp_path, "a:X")) == ["later"]


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    """A class which modules only hand on to each other is refused, as a circle."""
    write(tmp_path, {"a/__init__.py": "from .b import X", "a/b.py": "from . import X"})
    assert "X is imported in a circle" in refusal(entry_point(tmp_path, "a:X"))


def test_a_chain_of_imports_may_be_long(tmp_path: Path) -> None:
    """Twenty modules may hand a class on."""
    files = {f"a/m{number}.py": f"from .m{number + 1} import X" for number in range(20)}
    write(tmp_path, {**files, "a/m20.py": plugin("X"), "a/__init__.py": "from .m0 import X"})
    assert described(entry_point(tmp_path, "a:X")) == ["x"]


def test_a_package_describes_what_it_defines_and_imports_from_itself(tmp_path: Path) -> None:
    """Classes of a package come in the order of its `__init__.py`, each once, nothing else."""
    write(
        tmp_path,
        {
            "x_plugin/__init__.py": f"""
from json import JSONDecoder
from .b import B, B as Alias, helper, VALUE, Plain
from .sub import C, D
from . import e
from .b import B
{plugin("F")}
from .missing import M
from ..outside import N
from .g import G
""",
            "x_plugin/b.py": f"VALUE = 1\ndef helper(): ...\nclass Plain: ...\n{plugin('B')}",
            "x_plugin/sub/__init__.py": "from .d import D\nfrom .c import C",
            "x_plugin/sub/c.py": f"{plugin('C')}{plugin('Other')}",
            "x_plugin/sub/d.py": plugin("D"),
            "x_plugin/e.py": plugin("E"),
            "x_plugin/g.py": plugin("G"),
            "outside.py": plugin("N"),
        },
    )
    assert described(package(tmp_path)) == ["c", "d", "b", "f", "g"]


def test_an_installed_package_describes_its_own_modules_only(tmp_path: Path) -> None:
    """A package that an entry point names as a whole leaves out what its parents define."""
    write(
        tmp_path,
        {
            "a/__init__.py": "",
            "a/other.py": plugin("A"),
            "a/b/__init__.py": "from ..other import A\nfrom .c import C\nfrom a.b.c import D",
            "a/b/c.py": f"{plugin('C')}{plugin('D')}",
        },
    )
    assert described(entry_point(tmp_path, "a.b")) == ["c", "d"]


def test_a_star_import_from_the_package_is_refused(tmp_path: Path) -> None:
    """What a package imports with a star from itself only an import can tell."""
    write(tmp_path, {"x_plugin/__init__.py": "from .b import *", "x_plugin/b.py": plugin("B")})
    assert "imports b with a star" in refusal(package(tmp_path))
    write(tmp_path, {"x_plugin/__init__.py": f"from os.path import *\n{plugin('A')}"})
    assert described(package(tmp_path)) == ["a"]


def test_a_broken_module_of_a_package_is_a_fault(tmp_path: Path) -> None:
    """A module that a package imports and that is not Python is told of, as its import would."""
    write(tmp_path, {"x_plugin/__init__.py": "from .b import B", "x_plugin/b.py": "def"})
    with pytest.raises(SyntaxError):
        package(tmp_path).describe()
