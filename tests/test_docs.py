"""README and docs: every snippet runs, and every public name is documented."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import types
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Final

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

import nitro_dispatch
from nitro_dispatch import (
    HookRegistry,
    NitroPluginError,
    Plan,
    PluginBase,
    PluginManager,
    hook,
)
from nitro_dispatch.cli import main
from nitro_dispatch.cli.settings import Settings, read_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: Final = Path(__file__).resolve().parent.parent
README: Final = PROJECT / "README.md"
COMMAND_LINE: Final = PROJECT / "docs" / "command-line.md"
RELY_ON: Final = PROJECT / "docs" / "what-you-can-rely-on.md"
DOCUMENTS: Final = [README, *sorted((PROJECT / "docs").glob("*.md"))]

# A snippet whose first line is a comment with a path is the content of that file.
FILE_NAME: Final = re.compile(r"# (\S+\.(?:py|toml))\n")


class Reader:
    """Does what a reader of one document would do with its snippets, one after the other.

    Python is run, as one program; what it prints must be what the next block of text says. A
    snippet that is a file's content is written to that file.
    """

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module
        self.printed = ""

    def python(self, example: Example) -> None:
        """Run a snippet, or write it to its file."""
        self.check_nothing_is_left()
        if not write_file(example, Path.cwd()):
            # With as many lines before it as in the document, an error tells the right line.
            source = "\n" * (example.line) + example.parsed
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(source, example.path, "exec"), vars(self.module))
            self.printed = output.getvalue()

    def toml(self, example: Example) -> None:
        """Read a snippet, which must be TOML."""
        tomllib.loads(example.parsed)

    def text(self, example: Example) -> None:
        """Compare a block of text with what the snippet before it has printed."""
        printed, self.printed = self.printed, ""
        assert printed == example.parsed

    def check_nothing_is_left(self) -> None:
        """Fail if a snippet has printed something that the document does not show."""
        assert self.printed == ""


def write_file(example: Example, folder: Path) -> bool:
    """Write a snippet to the file that its first line names, if it names one."""
    named = FILE_NAME.match(example.parsed)
    if named is None:
        return False
    file = folder / Path(named[1]).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(example.parsed, encoding="utf-8")
    return True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a test work in a folder of its own, which is the user's home too."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Give an empty module for the snippets to run in."""
    module = types.ModuleType("snippets")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_snippets_do_what_the_text_says(path: Path, module: types.ModuleType) -> None:
    """All Python in a document runs, and prints exactly what the document shows."""
    reader = Reader(module)
    document = Document.parse(
        str(path),
        CodeBlockParser("python", reader.python),
        CodeBlockParser("toml", reader.toml),
        CodeBlockParser("text", reader.text),
    )
    for example in document:
        example.evaluate()
    reader.check_nothing_is_left()


class Shell:
    """Runs commands as a reader does who has done what README begins with.

    Args:
        variables: The environment variables.
        folder: Where to work.
    """

    def __init__(self, variables: dict[str, str], folder: Path) -> None:
        self.variables = variables
        self.folder = folder

    def file(self, example: Example) -> None:
        """Write a snippet to its file, if it is one."""
        write_file(example, self.folder)

    def console(self, example: Example) -> None:
        """Run each command of a snippet, and compare what it prints with what follows it."""
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", example.parsed, re.M):
            output = self.run(command)
            # What pip says depends on its version and on what it has to fetch.
            if not command.startswith("pip "):
                assert comparable(output) == comparable(expected)

    def run(self, command: str) -> str:
        """Run one command, and give what it prints."""
        result = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode in (0, 1, 2), result.stdout
        return result.stdout


def comparable(output: str) -> list[str]:
    """Take out of a program's output the blanks that end lines, and how long something took.

    Times end their column; its width, and so that of the table, depends on them.
    """
    without_times, times = re.subn(r" +(?:[\d.]+ (?:ms|s)|took)\b", " TIME", output)
    if times:
        without_times = re.sub("\u2500+", "\u2500", without_times)
    return [line.rstrip() for line in without_times.splitlines()]


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make a new virtual environment and home; give the variables to work with them."""
    folder = tmp_path_factory.mktemp("reader")
    venv.create(folder / "environment", with_pip=True)
    (folder / "home").mkdir()
    unwanted = ("COLUMNS", "NITRO_DISPATCH", "PYTHON", "XDG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    path = os.pathsep.join((str(programs), os.environ["PATH"]))
    home = str(folder / "home")
    return {**kept, "PATH": path, "HOME": home, "USERPROFILE": home}


@pytest.fixture(scope="module")
def after_first_command(variables: dict[str, str]) -> dict[str, str]:
    """Do what README begins with; give the variables to go on."""
    command = re.findall(r"```sh\n(.*)\n```", README.read_text("utf-8"))[0]
    output = Shell(variables, PROJECT).run(command)
    assert '"greeting": "Welcome, Alice!"' in output, output
    return variables


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_print_what_the_text_says(
    path: Path, after_first_command: dict[str, str], tmp_path: Path
) -> None:
    """All commands in a document work after README's first, and print what the document shows."""
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    # Each document goes on from the home as README's first command has left it.
    home = shutil.copytree(after_first_command["HOME"], tmp_path / "home")
    variables = {**after_first_command, "HOME": str(home), "USERPROFILE": str(home)}
    shell = Shell(variables, tmp_path)
    document = Document.parse(
        str(path),
        CodeBlockParser("python", shell.file),
        CodeBlockParser("toml", shell.file),
        CodeBlockParser("console", shell.console),
    )
    for example in document:
        example.evaluate()


def section(heading: str, path: Path = README) -> str:
    """Give the text below a heading, down to the next one of any level."""
    _, _, rest = path.read_text(encoding="utf-8").partition(f"# {heading}\n")
    assert rest, f"{path.name} has no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str, path: Path = README) -> list[list[list[str]]]:
    """Give what stands between backquotes in each cell of the tables of a section."""
    lines = [line for line in section(heading, path).splitlines() if line.startswith("| `")]
    return [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:-1]] for line in lines]


def first_cells(heading: str, path: Path = README) -> list[str]:
    """Give what stands between backquotes in the first cells of a section's tables."""
    return [text for first, *_ in rows(heading, path) for text in first]


def signature(function: Callable[..., Any], name: str) -> str:
    """Write a call with its parameters and their defaults, without `self` and types."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in found.parameters.values()
        if parameter.name != "self"
    ]
    plain = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return f"{name}{plain}"


def documented_form(owner: type, name: str) -> str:
    """Write an attribute as the reference has it: a method as a call."""
    attribute = inspect.getattr_static(owner, name)
    return signature(attribute, name) if inspect.isfunction(attribute) else name


def record_names(record: type) -> set[str]:
    """List the public attributes of a record, without those of any text, tuple or mapping."""
    names = set(dir(record))
    if dataclasses.is_dataclass(record):
        names |= {field.name for field in dataclasses.fields(record)}
    if record is Plan:
        names |= set(vars(PluginManager().plan()))
    foreign = {*dir(str), *dir(tuple), *dir(Mapping)} - set(vars(record))
    return {name for name in names - foreign if not name.startswith("_")}


CLASSES: Final = [
    value
    for value in map(vars(nitro_dispatch).get, nitro_dispatch.__all__)
    if isinstance(value, type)
]
EXCEPTIONS: Final = [each for each in CLASSES if issubclass(each, NitroPluginError)]
WITH_TABLES: Final = (PluginManager, PluginBase, HookRegistry)
RECORDS: Final = [each for each in CLASSES if each not in (*EXCEPTIONS, *WITH_TABLES)]


@pytest.mark.parametrize(
    ("owner", "headings"),
    [
        (PluginManager, ["`PluginManager`", "Firing events"]),
        (HookRegistry, ["`HookRegistry`", "Firing events"]),
        (PluginBase, ["`PluginBase`"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_reference_has_every_method(owner: type, headings: list[str]) -> None:
    """The reference has each public method of a class with its parameters, and no other."""
    expected = {documented_form(owner, name) for name in dir(owner) if not name.startswith("_")}
    parameters = set(inspect.signature(owner).parameters)
    cells = {text for heading in headings for text in first_cells(heading)}
    assert cells - parameters == expected


@pytest.mark.parametrize(
    ("function", "heading"),
    [(PluginManager, "`PluginManager`"), (hook, "`hook`")],
    ids=["PluginManager", "hook"],
)
def test_the_reference_has_every_argument(function: Any, heading: str) -> None:
    """The reference shows how something is called, and describes each argument in its order."""
    assert f"\n`{signature(function, function.__name__)}`\n" in section(heading)
    parameters = list(inspect.signature(function).parameters)
    assert first_cells(heading)[: len(parameters)] == parameters


def test_the_reference_has_every_record() -> None:
    """The reference has each record with its attributes, and no other."""
    documented = {name: set(attributes) for [name], attributes, *_ in rows("Records")}
    assert documented == {record.__name__: record_names(record) for record in RECORDS}


def test_the_reference_has_every_exception() -> None:
    """The reference has each exception with its base and its own attributes, and no other."""
    documented = {name: (base, set(own)) for [name], [base], own, *_ in rows("Exceptions")}
    assert documented == {
        error.__name__: (
            error.__bases__[0].__name__,
            set(vars(error())) - set(vars(error.__bases__[0]())),
        )
        for error in EXCEPTIONS
    }


def test_the_reference_has_every_public_name() -> None:
    """Each name in the root's `__all__` stands in the reference."""
    reference = README.read_text(encoding="utf-8").partition("## API reference")[2]
    missing = [name for name in nitro_dispatch.__all__ if f"`{name}`" not in reference]
    assert missing == []


def test_the_patterns_match_as_the_table_says() -> None:
    """The table of patterns is right about what each matches and what it does not."""
    table = [row for row in rows("Events") if not row[0][0].startswith("nitro.")]
    for [pattern], matching, others in table:
        registry = HookRegistry()
        registry.register(pattern, lambda data: "heard")
        heard = [name for name in matching + others if registry.trigger(name) == "heard"]
        assert (pattern, heard) == (pattern, matching)


def test_the_lifecycle_events_are_those_of_the_table() -> None:
    """The table of the manager's own events has each with its constant, and no other."""
    documented = {
        constants[0]: name for [name], constants, *_ in rows("Events") if name.startswith("nitro.")
    }
    assert documented == {
        name: value for name, value in vars(PluginManager).items() if name.startswith("EVENT_")
    }


def test_every_environment_variable_is_documented() -> None:
    """Each environment variable that the package reads stands in README."""
    package = Path(nitro_dispatch.__file__).parent
    sources = "".join(file.read_text(encoding="utf-8") for file in package.rglob("*.py"))
    variables = set(re.findall(r"\bNITRO_DISPATCH_[A-Z]+\b", sources))
    assert variables == set(re.findall(r"\bNITRO_DISPATCH_[A-Z]+\b", README.read_text("utf-8")))


def help_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Ask the command line for its help."""
    assert main([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def options_in(text: str) -> set[str]:
    """List the options that a text names, without the one for help."""
    return set(re.findall(r"--[a-z][a-z-]*", text)) - {"--help"}


COMMANDS: Final = ("list", "show", "plan", "trigger")


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """The page of the command line has each command and each option of the program itself."""
    text = help_text(capsys)
    commands = re.findall(r"^\W+(\w+) {2,}", text.partition("Commands")[2], re.MULTILINE)
    assert tuple(commands) == COMMANDS
    headings = re.findall(r"^## `(\w+)`$", COMMAND_LINE.read_text("utf-8"), re.MULTILINE)
    assert tuple(headings) == COMMANDS
    introduction = section("The command line", COMMAND_LINE)
    assert {option for option in options_in(text) if f"`{option}`" not in introduction} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of the command line has each option of a command in a table, and no other."""
    monkeypatch.setenv("COLUMNS", "200")
    tables = [
        line.split("|")[1]
        for heading in (f"`{command}`", "Options of all commands")
        for line in section(heading, COMMAND_LINE).splitlines()
        if line.startswith("| `--")
    ]
    assert options_in(" ".join(tables)) == options_in(help_text(capsys, command))


def test_every_setting_is_documented(tmp_path: Path) -> None:
    """The page of the command line has each key of the settings, and its example has all."""
    keys = {field.name for field in dataclasses.fields(Settings)}
    assert set(first_cells("Settings", COMMAND_LINE)) == keys
    (example,) = re.findall(r"```toml\n(.*?)```", section("Settings", COMMAND_LINE), re.DOTALL)
    assert set(tomllib.loads(example)["tool"]["nitro_dispatch"]) == keys
    file = tmp_path / "pyproject.toml"
    file.write_text(example, encoding="utf-8")
    assert read_settings(file).config == {"audit": {"max_rows": 1000}}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Each link to a page of the project leads to a file, and to the heading that it names."""
    links = re.findall(r"\]\(([^):]+)\)", path.read_text("utf-8"))
    for file, _, anchor in (link.partition("#") for link in links):
        target = path.parent / file
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_every_promise_names_tests_that_are_there() -> None:
    """Each promise names tests of files that have them, and each file of fault tests proves one."""
    promises = RELY_ON.read_text("utf-8").split("\n### ")[1:]
    files = set()
    for promise in promises:
        proofs = re.findall(r"^- `([\w/.]+)`: ([^-]+)", promise, re.MULTILINE)
        assert proofs, promise
        for file, tests in proofs:
            files.add(PROJECT / file)
            defined = re.findall(
                r"^ *(?:async )?def (test_\w+)", (PROJECT / file).read_text("utf-8"), re.M
            )
            named = re.findall(r"`(\w+)`", tests)
            assert set(named) <= set(defined), file
            assert named or "all" in tests
    assert files >= set((PROJECT / "tests" / "faults").glob("test_*.py"))
