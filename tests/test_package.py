"""The package as a whole: its shape, its doctests, and the distributions that are made of it."""

from __future__ import annotations

import ast
import doctest
import email.message
import email.parser
import importlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Union

import pytest

import nitro_dispatch

PROJECT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = Path(nitro_dispatch.__file__).resolve().parent
FILES: Final = sorted(PACKAGE.rglob("*.py"))
# What `python -m` runs has nothing to import, and importing it would run it.
MODULES: Final = [file for file in FILES if file.name != "__main__.py"]
LONGEST_MODULE: Final = 350
LONGEST_FUNCTION: Final = 40
# They are slow to import, and not every program needs one.
NOT_IMPORTED_EARLY: Final = (
    "asyncio",
    "importlib.metadata",
    "importlib_metadata",
    "packaging",
    "rich",
    "typer",
    "watchfiles",
)

# What a start needs besides logging, threading and typing. A further one has to be worth its time.
IMPORTED_EARLY: Final = frozenset(
    (
        "__future__",
        "_contextvars",
        "contextvars",
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "importlib.machinery",
    )
)
# An application that registers plugins of its own and fires events.
APPLICATION: Final = """
import logging, sys, threading, typing
before = set(sys.modules)
from nitro_dispatch import PluginBase, PluginManager, hook
class Greeter(PluginBase):
    @hook("user.*")
    def greet(self, data):
        return {**data, "greeted": True}
with PluginManager(config={"Greeter": {"loud": True}}) as manager:
    manager.register(Greeter)
    manager.load_all()
    assert manager.trigger("user.login", {}) == {"greeted": True}
print(*sorted(set(sys.modules) - before), sep="\\n")
"""

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]

under_tox = pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="only tox installs a wheel")


def module_name(file: Path) -> str:
    """Name the module that a file of the package holds."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(file: Path) -> ast.Module:
    """Parse one file."""
    return ast.parse(file.read_bytes(), str(file))


def functions(tree: ast.AST) -> Iterator[Function]:
    """Find all functions, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def docstring_lines(tree: ast.AST) -> int:
    """Count the lines that the docstrings in a tree take."""
    documented = (
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node) is not None
    )
    return sum(line_count(node.body[0]) for node in documented)


def line_count(node: ast.stmt) -> int:
    """Count the lines from a statement's first to its last."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def each(files: Iterable[Path]) -> pytest.MarkDecorator:
    """Run a test once for each of the files."""
    return pytest.mark.parametrize(
        "file", list(files), ids=lambda file: str(file.relative_to(PACKAGE))
    )


@under_tox
def test_the_package_under_test_is_the_installed_wheel() -> None:
    """Under tox the package comes from site-packages and not from the folder of sources."""
    assert PACKAGE.parent == Path(sysconfig.get_path("purelib")).resolve()


@under_tox
def test_the_version_is_that_of_the_distribution() -> None:
    """`__version__` is the version of the installed distribution."""
    assert importlib.metadata.version("nitro-dispatch") == nitro_dispatch.__version__


def test_import_pulls_in_nothing_slow(tmp_path: Path) -> None:
    """`import nitro_dispatch` imports no asyncio, packaging or importlib.metadata."""
    program = "\n".join(
        (
            "import sys",
            "before = set(sys.modules)",
            "import nitro_dispatch",
            "print(*sorted(set(sys.modules) - before), sep='\\n')",
        )
    )
    output = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    imported = output.splitlines()
    assert "nitro_dispatch" in imported
    assert [name for name in NOT_IMPORTED_EARLY if name in imported] == []


@pytest.fixture(scope="module")
def of_application(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """List the modules that an application imports with the package."""
    folder = tmp_path_factory.mktemp("application")
    program = [sys.executable, "-c", APPLICATION]
    return subprocess.check_output(program, cwd=folder, text=True).splitlines()


def test_few_standard_modules_are_imported_early(of_application: list[str]) -> None:
    """To start, register, load and fire imports no slow module of the standard library."""
    foreign = {name for name in of_application if name.partition(".")[0] != "nitro_dispatch"}
    assert foreign - IMPORTED_EARLY == set()


def test_an_application_s_own_plugins_need_no_reader(of_application: list[str]) -> None:
    """What finds plugins, reads sources, lists or reloads is imported by those who ask for it."""
    own = {name for name in of_application if name.startswith("nitro_dispatch.")}
    assert {name for name in own if name.startswith("nitro_dispatch.sources.")} == set()
    late = {"nitro_dispatch.overview", "nitro_dispatch.reload", "nitro_dispatch.watching"}
    assert own & late == set()
    assert "nitro_dispatch.manager" in own


def test_no_annotation_is_compiled_early(tmp_path: Path) -> None:
    """To import the package, or what finds plugins, compiles no text as a NamedTuple does."""
    program = "\n".join(
        (
            "import logging, sys, threading, typing",
            "def hear(event, arguments):",
            "    if event == 'compile' and arguments[1] == '<string>':",
            "        print(arguments[0])",
            "sys.addaudithook(hear)",
            "import nitro_dispatch.sources.directory, nitro_dispatch.sources.entry_points",
        )
    )
    output = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    # What `collections.namedtuple` evaluates is no annotation, and cheap.
    assert [line for line in output.splitlines() if "lambda _cls" not in line] == []


def test_the_root_has_what_it_promises() -> None:
    """Each name in the root's `__all__` exists, and none is there twice."""
    names = nitro_dispatch.__all__
    assert [name for name in names if not hasattr(nitro_dispatch, name)] == []
    assert len(names) == len(set(names))


def test_the_package_says_that_it_is_typed() -> None:
    """The marker is there by which type checkers know that the annotations count."""
    assert (PACKAGE / "py.typed").is_file()


@each(file for file in MODULES if parse(file).body[1:])
def test_a_module_names_what_is_public(file: Path) -> None:
    """A module that has more than a docstring has an `__all__` of names that exist in it."""
    module = importlib.import_module(module_name(file))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@each(MODULES)
def test_the_examples_in_docstrings_are_right(file: Path) -> None:
    """The examples in a module's docstrings give what they say."""
    module = importlib.import_module(module_name(file))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@each(FILES)
def test_a_module_is_short(file: Path) -> None:
    """A module has at most 350 lines, docstrings not counted."""
    lines = len(file.read_bytes().splitlines()) - docstring_lines(parse(file))
    assert lines <= LONGEST_MODULE


@each(FILES)
def test_its_functions_are_short(file: Path) -> None:
    """A function has at most 40 lines, docstrings not counted."""
    lengths = {
        f"{function.name}, line {function.lineno}": line_count(function) - docstring_lines(function)
        for function in functions(parse(file))
    }
    too_long = {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}
    assert too_long == {}


@each(FILES)
def test_no_function_imports_a_module_of_ours(file: Path) -> None:
    """The package's own modules are imported where a reader looks for imports, at the top."""
    imports = [
        ast.unparse(node)
        for function in functions(parse(file))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert [found for found in imports if "nitro_dispatch" in found] == []


def late_modules(tree: ast.Module) -> set[str]:
    """List the modules of ours that a module says to import late."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 1]
    names = [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "Late"]
    return {name for name in names if name.startswith("nitro_dispatch.")}


def modules_for_type_checking(tree: ast.Module) -> set[str]:
    """List the modules that a module imports where types are checked only."""
    return {
        f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@each(file for file in FILES if file.name != "late.py")
def test_an_import_that_is_late_is_checked_like_any_other(file: Path) -> None:
    """What is imported late is named to the checks of types and floors, at the top of the file."""
    tree = parse(file)
    assert late_modules(tree) <= modules_for_type_checking(tree)


def test_some_modules_are_imported_late() -> None:
    """The manager imports late what only some programs need."""
    assert "nitro_dispatch.reload" in late_modules(parse(PACKAGE / "manager.py"))


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and the wheel into a folder."""
    folder = tmp_path_factory.mktemp("distributions")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=PROJECT, check=True
    )
    return folder


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    """Build the wheel."""
    (file,) = distributions.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    """Build the sdist."""
    (file,) = distributions.glob("*.tar.gz")
    return file


def metadata(wheel: Path) -> email.message.Message:
    """Read the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(archive.read(name))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """A wheel installs one package, all modules of it, and its metadata."""
    name = f"nitro_dispatch-{nitro_dispatch.__version__}"
    assert wheel.name == f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        paths = [PurePosixPath(path) for path in archive.namelist()]
    assert {path.parts[0] for path in paths} == {"nitro_dispatch", f"{name}.dist-info"}
    packaged = {path.as_posix() for path in paths if path.suffix == ".py"}
    sources = (PROJECT / "nitro_dispatch").rglob("*.py")
    assert packaged == {file.relative_to(PROJECT).as_posix() for file in sources}


@pytest.mark.slow
def test_the_sdist_holds_what_a_packager_needs(sdist: Path) -> None:
    """An sdist has the tests, and the docs, the examples and the contributed plugins there are."""
    with tarfile.open(sdist) as archive:
        paths = [PurePosixPath(path) for path in archive.getnames()]
    found = {path.parts[1] for path in paths}
    folders = ("tests", "docs", "examples", "plugins_contrib")
    assert {folder for folder in folders if any((PROJECT / folder).rglob("*.*"))} <= found
    assert {"LICENSE", "CHANGELOG.md", "pyproject.toml", "tox.ini", "nitro_dispatch"} <= found


@pytest.mark.slow
def test_the_base_install_needs_three_distributions_at_most(wheel: Path) -> None:
    """A base install brings packaging, and two more for an older Python and other systems."""
    requirements = metadata(wheel).get_all("Requires-Dist", [])
    assert [text for text in requirements if "extra ==" not in text] == [
        "importlib-metadata>=6.5; python_version < '3.12'",
        "packaging>=22",
        "platformdirs>=3; sys_platform != 'linux'",
    ]


@pytest.mark.slow
def test_the_wheel_tells_its_licence_and_pythons(wheel: Path) -> None:
    """The metadata has the licence as an SPDX expression and the oldest Python."""
    fields = metadata(wheel)
    assert fields["License-Expression"] == "MIT"
    assert fields["License-File"] == "LICENSE"
    assert fields["Requires-Python"] == ">=3.9"
