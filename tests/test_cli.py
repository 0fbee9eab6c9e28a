"""The command line: what it finds, shows, plans and fires, and how it says that it cannot."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Final, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import nitro_dispatch
from nitro_dispatch.cli import main
from nitro_dispatch.cli.documents import json_text
from nitro_dispatch.cli.layout import Parts, short_paths, table

PACKAGE: Final = Path(nitro_dispatch.__file__).resolve().parent

GREETER: Final = '''
    class Greeter(PluginBase):
        name = "greeter"
        version = "1.2.0"
        description = """Greets
            those who log in."""
        author = "Ada"
        dependencies = ["store>=1"]
        optional_dependencies = ["geo"]

        @hook("user.login", priority=100)
        def greet(self, data):
            print("Welcome!")
            data["greeted"] = True
            return data
'''
STORE: Final = """
    class Store(PluginBase):
        name = "store"
        version = "1.5"

        @hook("user.*")
        def keep(self, data):
            return None
"""
TOUCH: Final = """
    import pathlib
    pathlib.Path("it_ran").touch()
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines on standard output, with single blanks between the words."""
        return [" ".join(line.split()) for line in self.out.splitlines()]


Run = Callable[..., Outcome]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be in an empty folder, with no variable that changes what is found or shown."""
    monkeypatch.chdir(tmp_path)
    for variable in ("COLUMNS", "FORCE_COLOR", "NITRO_DISPATCH_ALLOW", "NITRO_DISPATCH_BLOCK"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in the folder `plugins`, if there is one, and not with what is installed."""

    def run_command(*arguments: Union[str, Path], where: Optional[Sequence[str]] = None) -> Outcome:
        if where is None:
            where = ["--no-entry-points", *(["--directory", "plugins"] * Path("plugins").exists())]
        code = main([*map(str, arguments), *where])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_command


def write_plugin(name: str, *parts: str, folder: str = "plugins") -> Path:
    """Write a plugin file."""
    path = Path(folder, f"{name}_plugin.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    source = "\n".join(map(textwrap.dedent, parts))
    path.write_text(f"from nitro_dispatch import PluginBase, hook\n{source}")
    return path


def install(name: str, *, group: str = "nitro_dispatch.plugins", folder: str = "site") -> Path:
    """Lay out an installed distribution whose module leaves a file behind if it runs."""
    module = name.replace("-", "_")
    write_plugin(module, STORE.replace('"store"', f'"{name}"'), TOUCH, folder=folder).rename(
        Path(folder, f"{module}.py")
    )
    metadata = Path(folder, f"{module}-2.0.dist-info")
    metadata.mkdir()
    Path(metadata, "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    Path(metadata, "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Store\n")
    return Path(folder).resolve()


# -- looking: list, show and plan


def test_list_tells_the_plugins_in_a_table(run: Run) -> None:
    """A row has the name, version, state, file and line, events, and needs of a plugin."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    outcome = run("list")
    assert outcome.lines[1] == "name version state from events needs"
    row = "greeter 1.2.0 registered plugins/greeter_plugin.py:3 user.login store>=1, [geo]"
    assert outcome.lines[3].replace(os.sep, "/") == row
    assert outcome.lines[-1] == "2 registered"
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("command", [("list",), ("show", "store"), ("plan",)])
def test_looking_imports_no_file(run: Run, command: tuple[str, ...]) -> None:
    """`list`, `show` and `plan` describe a plugin file without running it."""
    write_plugin("store", STORE, TOUCH)
    assert "store" in run(*command).out
    assert not Path("it_ran").exists()


@pytest.mark.parametrize("command", [("list",), ("show", "sample-store"), ("plan",)])
def test_looking_imports_no_distribution(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """`list`, `show` and `plan` describe an installed distribution without importing it."""
    monkeypatch.syspath_prepend(str(install("sample-store")))
    outcome = run(*command, where=[])
    assert "sample-store 2.0" in outcome.out
    assert not Path("it_ran").exists()
    assert "sample_store" not in sys.modules


def test_list_document_has_the_documented_keys(run: Run) -> None:
    """The document of `list` has all that is known of a plugin, under keys that stay."""
    write_plugin("greeter", GREETER)
    document = run("list", "--json").document
    assert list(document) == ["plugins", "failures"]
    path = str(Path("plugins", "greeter_plugin.py").absolute())
    assert document["plugins"] == [
        {
            "name": "greeter",
            "version": "1.2.0",
            "description": "Greets\n        those who log in.",
            "author": "Ada",
            "dependencies": ["store>=1"],
            "optional_dependencies": ["geo"],
            "conflicts": [],
            "requires_app": "",
            "requires_python": "",
            "origin": {
                "text": f"{path}:3",
                "distribution": "",
                "version": "",
                "entry_point": "",
                "file": path,
                "line": 3,
                "module": "",
            },
            "state": "failed",
            "events": ["user.login"],
            "problems": ["greeter needs store>=1, which is missing"],
            "unknown": [],
        }
    ]


def test_list_tells_what_is_broken(run: Run) -> None:
    """A file that is not Python hides no other, and is listed with the reason."""
    write_plugin("broken", "def broken(:")
    write_plugin("store", STORE)
    outcome = run("list")
    assert "broken_plugin.py describe: SyntaxError" in " ".join(outcome.lines)
    assert "1 registered, 1 broken" in outcome.lines
    (failure,) = run("list", "--json").document["failures"]
    assert list(failure) == ["plugin", "stage", "error", "origin", "location", "event", "hook"]
    assert failure["stage"] == "describe"
    assert (outcome.code, outcome.err) == (0, "")


def test_list_tells_of_conflicts(run: Run) -> None:
    """A plugin whose name another has is passed over, and both places are named."""
    write_plugin("a", STORE)
    write_plugin("b", STORE)
    outcome = run("list")
    assert "1 registered, 1 passed over" in outcome.lines
    (line,) = (line for line in outcome.lines if "is passed over" in line)
    assert "a_plugin.py:3 was there before" in line
    assert "b_plugin.py:3 is passed over" in line
    outcome = run("trigger", "user.login", "1")
    assert (outcome.code, outcome.out) == (1, "1\n")
    assert outcome.err.startswith("failed: plugin 'store' of plugins")
    assert "b_plugin.py is passed over: that of plugins" in outcome.err


def test_list_tells_what_is_not_known(run: Run) -> None:
    """What the source does not tell is a question mark, and is listed with its line and reason."""
    vague = """
        import os
        class Vague(PluginBase):
            name = "vague"
            version = os.environ.get("VERSION")
            dependencies = [os.sep]
        class Nameless(PluginBase):
            name = os.environ.get("NAME")
    """
    write_plugin("vague", vague)
    outcome = run("list")
    text = "\n".join(outcome.lines).replace(os.sep, "/")
    assert "vague ? registered plugins/vague_plugin.py:4 ?" in text
    assert "? 1.0.0 unknown plugins/vague_plugin.py" in text
    assert "vague version line 6 " in text
    first, second = run("list", "--json").document["plugins"]
    assert (first["version"], first["dependencies"], first["author"]) == (None, None, "")
    assert [each["field"] for each in first["unknown"]] == ["version", "dependencies"]
    assert (second["name"], second["state"]) == (None, "unknown")


def test_an_unknown_base_leaves_open_what_is_not_said(run: Run) -> None:
    """Of a plugin with a base elsewhere, what it does not say itself is not known."""
    derived = """
        from elsewhere import Base
        class Derived(Base):
            name = "derived"
            author = "Ada"
            @hook("user.login")
            def greet(self, data): ...
    """
    write_plugin("derived", derived)
    (plugin,) = run("list", "--json").document["plugins"]
    assert (plugin["name"], plugin["author"], plugin["version"]) == ("derived", "Ada", None)
    assert "derived ? registered" in " ".join(run("list").lines)
    assert "user.login, ?" in run("list").out


def test_a_blocked_plugin_is_listed_with_the_reason(run: Run) -> None:
    """A plugin on the block list is no problem, and what blocks it is told."""
    write_plugin("store", STORE)
    outcome = run("list", "--block", "st*")
    assert "store blocked by the block list entry 'st*'" in outcome.lines
    assert "Problems" not in outcome.lines


def test_allow_permits_only_what_it_names(run: Run) -> None:
    """With --allow, which may be repeated, all other plugins are blocked."""
    for name in ("a", "b", "c"):
        write_plugin(name, STORE.replace('"store"', f'"{name}"'))
    plugins = run("list", "--json", "--allow", "a", "--allow", "c").document["plugins"]
    assert [each["state"] for each in plugins] == ["registered", "blocked", "registered"]


def test_nothing_found_is_said_on_standard_error(run: Run) -> None:
    """Where there is no plugin, standard output stays empty and a note says where was looked."""
    Path("plugins").mkdir()
    outcome = run("list")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "note: no plugins are found: there are none in plugins\n"


def test_the_group_is_looked_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--group says under which group distributions declare their plugins."""
    monkeypatch.syspath_prepend(str(install("sample-store", group="my_app.plugins")))
    (plugin,) = run("list", "--json", "--group", "my_app.plugins", where=[]).document["plugins"]
    assert plugin["origin"]["entry_point"] == "sample-store = sample_store:Store"


@pytest.mark.parametrize("command", [("list",), ("plan",), ("trigger", "any"), ("show", "store")])
def test_a_group_that_no_distribution_has_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A misspelled --group does not pass for one without plugins; the nearest one is told."""
    monkeypatch.syspath_prepend(str(install("sample-store", group="my_app.plugins")))
    outcome = run(*command, "--group", "my_app.plugin", where=[])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: --group 'my_app.plugin': no installed distribution has entry points in that group; "
        "did you mean 'my_app.plugins'?\n"
    )
    assert run("list", "--group", "my_app.plugin", "--no-entry-points", where=[]).code == 0


def test_a_broken_distribution_hides_no_group(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all groups can be told the one that is given is searched all the same."""
    folder = install("sample-store", group="my_app.plugins")
    file = folder / "sample_store-2.0.dist-info" / "entry_points.txt"
    file.write_bytes(file.read_bytes() + b"[other]\n\xff = a:b\n")
    monkeypatch.syspath_prepend(str(folder))
    assert "sample-store" in run("list", "--group", "my_app.plugins", where=[]).out


def test_folders_are_searched_as_told(run: Run) -> None:
    """--directory may be repeated, --pattern and --recursive hold for all folders."""
    write_plugin("a", STORE, folder="one/inner").rename("one/inner/a_addon.py")
    write_plugin("b", STORE.replace('"store"', '"other"'), folder="two").rename("two/b_addon.py")
    where = ["--no-entry-points", "--directory", "one", "--directory", "two"]
    pattern = ["--pattern", "*_addon.py"]
    names = [
        [each["name"] for each in run("list", "--json", *more, where=where).document["plugins"]]
        for more in ([], pattern, [*pattern, "--recursive"])
    ]
    assert names == [[], ["other"], ["store", "other"]]


def test_show_tells_everything(run: Run) -> None:
    """`show` has all metadata, the events, who needs the plugin, and its configuration."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    outcome = run("show", "greeter", "--set", 'greeter.tone="warm"')
    assert outcome.lines == [
        "greeter",
        "version 1.2.0",
        "state registered",
        "description Greets those who log in.",
        "author Ada",
        f"from {Path('plugins', 'greeter_plugin.py')}:3",
        "events user.login",
        "needs store>=1",
        "uses if there geo",
        "loads after store>=1",
        'configuration tone = "warm"',
    ]
    assert "needed by greeter (needs store>=1)" in run("show", "store").lines


def test_show_document_has_the_documented_keys(run: Run) -> None:
    """The document of `show` adds needs, needed_by and configuration to that of a listing."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    document = run("show", "store", "--json", "--set", "store.size=3").document
    assert list(document)[-3:] == ["needs", "needed_by", "configuration"]
    assert document["needed_by"] == [
        {"plugin": "greeter", "requires": "store", "requirement": "store>=1", "optional": False}
    ]
    assert document["configuration"] == {"size": 3}


def test_show_of_an_unknown_name_suggests_the_nearest(run: Run) -> None:
    """An unknown name is an error of one line, which names the nearest right spelling."""
    write_plugin("store", STORE)
    outcome = run("show", "stroe")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: no plugin 'stroe' is found; did you mean 'store'?\n"


def test_show_of_a_refused_plugin_says_why(run: Run) -> None:
    """A plugin whose metadata is not valid has no place, and the error is the reason."""
    write_plugin("bad", STORE.replace('"1.5"', "3"))
    outcome = run("show", "store")
    assert outcome.code == 2
    assert "version must be a non-empty string" in outcome.err


def test_show_of_what_has_no_known_name_points_to_the_list(run: Run) -> None:
    """Where something is broken or unknown, an unknown name may be its: `list` tells what it is."""
    write_plugin("broken", "def broken(:")
    write_plugin("vague", "class Vague(PluginBase): name = print.__name__")
    outcome = run("show", "broken")
    assert outcome.code == 2
    assert outcome.err == (
        "error: no plugin 'broken' is found (`list` shows 2 more, broken or not known by name)\n"
    )


def test_plan_tells_the_order_and_why(run: Run) -> None:
    """`plan` lists the plugins in their order, each with what it must follow."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE, STORE.replace("Store", "Geo").replace('"store"', '"geo"'))
    outcome = run("plan")
    assert outcome.code == 0
    place = str(Path("plugins", "greeter_plugin.py"))
    assert f"3 greeter 1.2.0 store>=1, geo (optional) {place}:3" in outcome.lines
    order = run("plan", "--json").document["order"]
    assert [each["plugin"] for each in order] == ["store", "geo", "greeter"]
    assert [each["requires"] for each in order[2]["after"]] == ["store", "geo"]


def test_plan_ends_with_one_where_there_are_problems(run: Run) -> None:
    """A plugin that cannot be loaded makes the exit code 1, and the reason is told in full."""
    write_plugin("greeter", GREETER)
    outcome = run("plan")
    assert outcome.code == 1
    assert "greeter greeter needs store>=1, which is missing" in outcome.lines
    document = run("plan", "--json").document
    assert list(document) == ["order", "problems", "blocked", "failures"]
    assert document["problems"] == [
        {
            "kind": "missing",
            "plugin": "greeter",
            "requirement": "store>=1",
            "found": "",
            "path": [],
            "text": "greeter needs store>=1, which is missing",
        }
    ]


def test_plan_ends_with_one_where_a_file_is_broken(run: Run) -> None:
    """What cannot be read will not load either, so it counts as a problem."""
    write_plugin("broken", "def broken(:")
    assert run("plan").code == 1


REFUSED: Final = {
    "a time limit": "@hook('a', timeout=-1)",
    "an option": "@hook('a', prority=1)",
    "no event": "@hook",
    "stacking": "@hook('a')\n    @hook('b')",
    "stacking on a class method": "@hook('a')\n    @classmethod\n    @hook('b')",
}


def with_hook(decorator: str) -> str:
    """Make the source of the plugin `bad`, which has a hook `greet` so decorated."""
    return (
        f'class Bad(PluginBase):\n    name = "bad"\n    {decorator}\n    def greet(self, data): ...'
    )


@pytest.mark.parametrize("decorator", REFUSED.values(), ids=REFUSED)
def test_plan_ends_with_one_where_a_hook_is_refused(run: Run, decorator: str) -> None:
    """A decorator that must raise in an import is told, with the plugin, the hook and the line."""
    file = write_plugin("bad", with_hook(decorator))
    write_plugin("store", STORE.replace("version =", 'dependencies = ["bad"]\n        version ='))
    outcome = run("plan", "--json")
    (failure,) = outcome.document["failures"]
    assert outcome.code == 1
    assert (failure["plugin"], failure["stage"]) == ("bad", "describe")
    line = 5 + decorator.count("\n")
    told = f"plugin 'bad' ({file.absolute()}:2) cannot be imported: in line {line} greet "
    assert failure["error"].startswith(told)
    assert [each["kind"] for each in outcome.document["problems"]] == ["missing"]
    assert "1 failed, 1 broken" in run("list").lines
    assert run("show", "bad").err.startswith(f"error: plugin 'bad' ({file}:2) cannot be imported")
    (failure,) = run("trigger", "a", "--allow", "bad", "--json").document["failures"]
    assert failure["stage"] == "import"


@pytest.mark.parametrize(
    "decorator",
    [
        "@hook('a', timeout=limits.LIMIT)",
        "@hook('a')\n    @limits.wrap\n    @hook('b')",
        "@limits.wrap\n    @hook('a', timeout=-1)",
    ],
)
def test_plan_does_not_count_what_only_an_import_can_tell(run: Run, decorator: str) -> None:
    """A hook of which it cannot be told whether it is refused makes the plan no worse."""
    write_plugin("open", "import limits", with_hook(decorator))
    outcome = run("plan")
    assert outcome.code == 0
    assert "Not known without importing" in outcome.lines


def test_what_is_blocked_may_have_a_hook_that_is_refused(run: Run) -> None:
    """A plugin that is not to be used is no failure, whatever its hooks say."""
    write_plugin("bad", with_hook("@hook('a', timeout=-1)"))
    outcome = run("plan", "--block", "bad", "--json")
    assert (outcome.code, outcome.document["failures"]) == (0, [])
    assert run("trigger", "a", "--block", "bad").code == 0


@pytest.mark.parametrize(
    ("reference", "lacking"),
    [
        ("sample_stroe:Store", "module sample_stroe;"),
        ("sample_store.inner:Store", "module sample_store.inner;"),
        ("sample_store:Stroe", "Stroe in "),
    ],
)
def test_plan_ends_with_one_where_an_entry_point_leads_nowhere(
    run: Run, monkeypatch: pytest.MonkeyPatch, reference: str, lacking: str
) -> None:
    """An entry point to a module or a name that is not there is told, and nothing is imported."""
    folder = install("sample-store")
    monkeypatch.syspath_prepend(str(folder))
    declaration = f"[nitro_dispatch.plugins]\nodd = {reference}\n"
    (folder / "sample_store-2.0.dist-info" / "entry_points.txt").write_text(declaration)
    outcome = run("plan", "--json", where=[])
    broken = {each["origin"]: each["error"] for each in outcome.document["failures"]}
    origin = f"sample-store 2.0 (entry point odd = {reference})"
    assert outcome.code == 1
    assert broken[origin].startswith(f"{origin} cannot be imported: there is no {lacking}")
    assert origin in run("list", where=[]).out
    assert run("plan", "--block", "odd", where=[]).code == 0
    assert not Path("it_ran").exists()


def test_plan_does_not_count_what_is_blocked(run: Run) -> None:
    """A plugin that the user blocks is no problem; one that needs it is."""
    write_plugin("store", STORE)
    outcome = run("plan", "--block", "store", "--json")
    assert outcome.code == 0
    assert outcome.document["blocked"] == [
        {"plugin": "store", "reason": "blocked by the block list entry 'store'"}
    ]
    write_plugin("greeter", GREETER)
    assert run("plan", "--block", "store").code == 1


def test_plan_checks_the_version_of_the_application(run: Run) -> None:
    """--app-version is what `requires_app` is checked against."""
    write_plugin("store", STORE.replace("version =", 'requires_app = ">=3"\n        version ='))
    assert run("plan", "--app-version", "3.1").code == 0
    outcome = run("plan", "--app-version", "2.9")
    assert outcome.code == 1
    assert "store store needs the application at >=3, but this is 2.9" in outcome.lines


def test_why_prints_the_chain(run: Run) -> None:
    """`plan --why A B` prints each requirement on the way from A to B."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE.replace("version", 'dependencies = ["disk"]\n        version'))
    outcome = run("plan", "--why", "greeter", "disk")
    assert (outcome.code, outcome.lines) == (0, ["greeter needs store>=1", "store needs disk"])
    document = run("plan", "--why", "greeter", "disk", "--json").document
    assert list(document) == ["plugin", "requires", "chain"]
    assert [each["requirement"] for each in document["chain"]] == ["store>=1", "disk"]


def test_why_without_a_chain_ends_with_one(run: Run) -> None:
    """Where A does not need B the exit code is 1 and a note says so."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    outcome = run("plan", "--why", "store", "greeter")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "note: store does not need greeter\n"


@pytest.mark.parametrize("names", [("stroe", "greeter"), ("greeter", "stroe")])
def test_why_of_an_unknown_name_is_an_error(run: Run, names: tuple[str, str]) -> None:
    """A name that no plugin has or needs is a mistake on either side."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    outcome = run("plan", "--why", *names)
    assert outcome.code == 2
    assert "did you mean 'store'?" in outcome.err


# -- firing: trigger


def test_trigger_prints_the_result_as_json(run: Run) -> None:
    """The data as the hooks left it is all there is on standard output."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    outcome = run("trigger", "user.login", '{"username": "Ålice"}')
    assert outcome.code == 0
    assert outcome.document == {"username": "Ålice", "greeted": True}
    assert outcome.err == "Welcome!\n"


@pytest.mark.parametrize("arguments", [("@data.json",), ("--file", "data.json"), ("-",), ()])
def test_trigger_reads_the_data(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The data may come from a file, and from standard input asked for or piped in."""
    Path("data.json").write_text('{"number": 5}')
    with open("data.json") as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert run("trigger", "any", *arguments).document == {"number": 5}


def test_trigger_without_data_fires_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no data is given, and nothing piped in, the data is null."""
    Path("empty").touch()
    assert run("trigger", "any").document is None
    with open("empty") as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert run("trigger", "any").document is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("{",), "'{' is not JSON: "),
        (("@none.json",), "none.json cannot be read: "),
        (("@plugins",), "plugins cannot be read: "),
        (("@latin",), "latin is not UTF-8: "),
        (("-",), "standard input is not JSON: "),
        (("1", "--file", "x.json"), "the data is given twice: as an argument and with --file"),
    ],
)
def test_bad_data_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    """Data that cannot be read is told before any plugin is imported."""
    write_plugin("store", STORE, TOUCH)
    Path("latin").write_bytes(b'"\xe9"')
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    outcome = run("trigger", "user.login", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {text}")
    assert outcome.err.count("\n") == 1
    assert not Path("it_ran").exists()


def test_trace_tells_who_changed_what(run: Run) -> None:
    """--trace prints each call with its time and outcome, and what it changed, was before."""
    changer = """
        class Changer(PluginBase):
            name = "changer"
            @hook("save")
            def change(self, data):
                del data["secret"]
                data["name"] = "Bob"
                data["tags"] = ["new"]
    """
    write_plugin("changer", changer)
    data = '{"name": "Alice", "secret": 1}'
    outcome = run("trigger", "save", data, "--trace")
    plugin, hook, _, unit, called, *_ = outcome.lines[3].split()
    assert (plugin, hook, unit, called) == ("changer", "change", "ms", "passed")
    changes = ['name: "Alice" -> "Bob"', "- secret: 1", '+ tags: ["new"]']
    assert [change for change in changes if change not in outcome.out] == []
    assert json.loads(outcome.out[outcome.out.index("{") :]) == {"name": "Bob", "tags": ["new"]}


def test_trigger_document_has_the_documented_keys(run: Run) -> None:
    """The document of `trigger` has the result, each call with its changes, and the failures."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    document = run("trigger", "user.login", '{"greeted": 0}', "--json", "--trace").document
    assert list(document) == ["event", "result", "trace", "failures"]
    first, second = document["trace"]
    assert first.pop("seconds") >= 0
    assert first == {
        "plugin": "greeter",
        "hook": "greet",
        "outcome": "returned",
        "error": None,
        "changes": [{"path": "greeted", "kind": "changed", "before": 0, "after": True}],
    }
    assert second["changes"] == []
    assert run("trigger", "user.login", "{}", "--json").document["trace"] is None


def test_async_hooks_run_with_async(run: Run) -> None:
    """--async awaits async hooks, which are otherwise skipped with a warning."""
    waiter = """
        class Waiter(PluginBase):
            name = "waiter"
            @hook("save")
            async def wait(self, data):
                return [*data, "waited"]
    """
    write_plugin("waiter", waiter)
    outcome = run("trigger", "save", "[]")
    assert outcome.document == []
    assert outcome.err.startswith("warning: Skipping async hook wait of plugin waiter")
    document = run("trigger", "save", "[]", "--async", "--trace", "--json").document
    assert document["result"] == ["waited"]
    assert [(each["hook"], each["changes"]) for each in document["trace"]] == [("wait", None)]
    shown = run("trigger", "save", "[]", "--async", "--trace").lines
    assert "plugin hook took outcome" in shown


FAILING: Final = """
    class Failing(PluginBase):
        name = "failing"
        @hook("user.login")
        def fail(self, data):
            raise KeyError("username")
"""


@pytest.mark.parametrize("options", [(), ("--trace",), ("--async",)])
def test_a_failing_hook_is_told_and_the_result_shown(run: Run, options: Sequence[str]) -> None:
    """A hook that fails is one line on standard error, with its origin, and the exit code 1."""
    file = write_plugin("failing", FAILING)
    outcome = run("trigger", "user.login", "{}", *options)
    assert (outcome.code, outcome.out.endswith("{}\n")) == (1, True)
    hook = f"failing ({file}): hook fail on event user.login"
    assert outcome.err == f"failed: {hook}: KeyError: 'username' ({file}:7)\n"
    (failure,) = run("trigger", "user.login", "{}", "--json", *options).document["failures"]
    assert failure == {
        "plugin": "failing",
        "stage": "hook",
        "error": "KeyError: 'username'",
        "origin": str(file.absolute()),
        "location": f"{file.absolute()}:7",
        "event": "user.login",
        "hook": "fail",
    }


@pytest.mark.parametrize(
    ("source", "stage", "line"),
    [
        ("import no_such_module", "import", 2),
        (f"{STORE}\n        def __init__(self): raise ValueError", "init", 11),
        (f"{STORE}\n        def on_load(self): raise SystemExit(3)", "on_load", 11),
        (f"{STORE}\n        def on_unload(self): raise ValueError", "on_unload", 0),
        (STORE.replace("version =", 'dependencies = ["none"]\n        version ='), "resolve", 0),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told(run: Run, source: str, stage: str, line: int) -> None:
    """Whatever goes wrong with a plugin from its import to its end makes the exit code 1."""
    file = write_plugin("store", source)
    outcome = run("trigger", "any", "1", "--json")
    assert outcome.code == 1
    assert outcome.document["result"] == 1
    (failure,) = outcome.document["failures"]
    assert (failure["stage"], failure["origin"]) == (stage, str(file.absolute()))
    assert failure["location"] == (f"{file.absolute()}:{line}" if line else "")
    (told,) = (line for line in outcome.err.splitlines() if line.startswith("failed: "))
    assert f" {stage}: " in told
    assert str(file) in told


def test_what_is_blocked_has_not_failed(run: Run) -> None:
    """A plugin that the user blocks is neither imported nor a failure."""
    write_plugin("store", STORE, TOUCH)
    outcome = run("trigger", "any", "1", "--block", "store")
    assert outcome.code == 0
    assert not Path("it_ran").exists()


def test_an_event_without_hooks_is_noted(run: Run) -> None:
    """Where no hook was called a note says so, with the nearest event that has some."""
    write_plugin("failing", FAILING)
    outcome = run("trigger", "user.logn", "{}")
    assert outcome.code == 0
    expected = "note: no hook was called for 'user.logn'; did you mean 'user.login'?\n"
    assert outcome.err == expected


def test_an_event_of_async_hooks_alone_is_noted(run: Run) -> None:
    """Where an event needs `--async` the note says that, and suggests no other event."""
    source = """
        class Slow(PluginBase):
            name = "slow"
            @hook("save")
            async def wait(self, data): ...
    """
    write_plugin("slow", source)
    *_, note = run("trigger", "save").err.splitlines()
    assert note == (
        "note: no hook was called for 'save': its hooks are async, give --async to run them"
    )


def test_the_application_starts_and_ends(run: Run) -> None:
    """Around the event the startup and the shutdown event are fired, and plugins are unloaded."""
    listener = """
        class Listener(PluginBase):
            name = "listener"
            @hook(["nitro.app.startup", "save", "nitro.app.shutdown"])
            def hear(self, data, event):
                print(event)
            def on_unload(self):
                print("unloaded")
    """
    write_plugin("listener", listener)
    heard = run("trigger", "save").err.split()
    assert heard == ["nitro.app.startup", "save", "nitro.app.shutdown", "unloaded"]


def test_nothing_but_the_result_is_on_standard_output(run: Run) -> None:
    """What a plugin prints, and what programs print that it starts, goes to standard error."""
    noisy = """
        import os
        print("imported")
        class Noisy(PluginBase):
            name = "noisy"
            @hook("save")
            def save(self, data):
                print("called")
                os.system("echo started")
    """
    write_plugin("noisy", noisy)
    outcome = run("trigger", "save", "1")
    assert outcome.out == "1\n"
    assert sorted(outcome.err.split()) == ["called", "imported", "started"]


def test_what_json_lacks_is_a_text(run: Run) -> None:
    """Data that JSON has no form for is printed as a text, whatever it is."""
    maker = """
        import datetime
        class Unreadable:
            def __str__(self):
                raise ValueError
        class Maker(PluginBase):
            name = "maker"
            @hook("make")
            def make(self, data):
                data = {"day": datetime.date(2024, 2, 1), "mean": float("nan"), 1: (b"x",)}
                data["self"] = data
                data["dark"] = Unreadable()
                data["surrogate"] = "\\udc80"
                return data
    """
    write_plugin("maker", maker)
    outcome = run("trigger", "make", "--trace")
    document = run("trigger", "make", "--json", "--trace").document["result"]
    assert document == json.loads(outcome.out[outcome.out.index("\n{\n") :])
    assert document == {
        "day": "2024-02-01",
        "mean": "nan",
        "1": ["b'x'"],
        "self": "<circular>",
        "dark": "<Unreadable>",
        "surrogate": "\udc80",
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner)
            | st.dictionaries(st.text() | st.integers() | st.none(), inner)
        ),
    ),
    st.sampled_from(["ascii", "cp1252", "utf-8"]),
)
def test_all_data_becomes_json_that_can_be_written(value: object, encoding: str) -> None:
    """Whatever the data and the terminal, the text is strict JSON in one line, and visible."""
    text = json_text(value, encoding=encoding, indent=None)
    text.encode(encoding)
    assert text.isprintable()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)


# -- configuration and settings

READER: Final = """
    class Reader(PluginBase):
        name = "reader"
        @hook("read")
        def read(self, data):
            return {key: self.get_config(key) for key in ("size", "path")}
"""


def write_settings(text: str, path: str = "pyproject.toml") -> Path:
    """Write a file with settings."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(textwrap.dedent(text))
    return Path(path)


def test_set_configures_a_plugin(run: Run) -> None:
    """--set lays a value over the section of a plugin in the settings."""
    write_plugin("reader", READER)
    write_settings(
        """
        [tool.nitro_dispatch.config.reader]
        size = 1
        path = "a.db"
        """
    )
    assert run("trigger", "read").document == {"size": 1, "path": "a.db"}
    outcome = run("trigger", "read", "--set", "reader.size=[2]", "--set", "reader.size=[3]")
    assert outcome.document == {"size": [3], "path": "a.db"}


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("reader", "names no plugin and key"),
        ("size=3", "names no plugin and key"),
        (".size=3", "names no plugin and key"),
        ("reader.=3", "names no plugin and key"),
        ("reader.path=a.db", "a.db is not JSON"),
        ("reader.path=", " is not JSON"),
    ],
)
def test_a_bad_assignment_is_an_error(run: Run, assignment: str, text: str) -> None:
    """--set takes PLUGIN.KEY=JSON, and anything else is told with an example."""
    outcome = run("list", "--set", assignment)
    assert outcome.code == 2
    assert text in outcome.err
    assert "--set" in outcome.err


@pytest.mark.parametrize("command", ["list", "trigger"])
def test_a_configuration_without_a_plugin_is_warned_of(run: Run, command: str) -> None:
    """A section that no plugin will read is likely a misspelled name."""
    write_plugin("reader", READER)
    outcome = run(command, *(["read"] if command == "trigger" else []), "--set", "raeder.size=1")
    assert outcome.code == 0
    assert outcome.err == (
        "warning: there is a configuration for 'raeder', but no such plugin; "
        "did you mean 'reader'?\n"
    )


@pytest.mark.parametrize("command", ["list", "trigger"])
def test_a_list_that_names_no_plugin_is_warned_of(run: Run, command: str) -> None:
    """An entry of the allow or block list that fits nothing is likely misspelled."""
    write_plugin("reader", READER)
    arguments = [command, *(["read"] if command == "trigger" else [])]
    assert run(*arguments, "--block", "raeder").err.startswith(
        "warning: --block 'raeder' fits no plugin; did you mean 'reader'?\n"
    )
    assert (
        "warning: --allow 'Reader' fits no plugin; did" in run(*arguments, "--allow", "Reader").err
    )


@pytest.mark.parametrize("variable", ["NITRO_DISPATCH_ALLOW", "NITRO_DISPATCH_BLOCK"])
def test_a_variable_that_names_no_plugin_is_warned_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A name in an environment variable is looked at as one in the list, and the others fit."""
    write_plugin("reader", READER)
    monkeypatch.setenv(variable, "reader, raeder,")
    assert run("list").err == (
        f"warning: {variable}='raeder' fits no plugin; did you mean 'reader'?\n"
    )


@pytest.mark.parametrize("entry", ["reader", "r*", "reader_plugin", "reader_plugin.py", "Reader"])
def test_a_list_that_names_a_plugin_is_not_warned_of(run: Run, entry: str) -> None:
    """An entry that blocks a plugin, by whichever name, is no mistake."""
    write_plugin("reader", READER)
    outcome = run("list", "--block", entry)
    assert outcome.err == ""
    assert "1 blocked" in outcome.out


@pytest.mark.parametrize("entry", ["Nitro-Audit", "nitro.audit", "nitro_audit"])
def test_a_distribution_is_blocked_in_every_spelling(
    run: Run, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    """A distribution is blocked in whichever spelling pip takes for it, without a warning."""
    monkeypatch.syspath_prepend(install("nitro-audit", group="mine"))
    outcome = run("list", "--group", "mine", "--block", entry, where=[])
    assert outcome.err == ""
    assert "1 blocked" in outcome.out


def test_the_nearest_settings_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are found in a folder further up, and folders are relative to their file."""
    write_plugin("store", STORE, folder="app/addons")
    write_settings("[tool.nitro_dispatch]\ndirectories = ['addons']\n", "app/pyproject.toml")
    write_settings("[tool.nitro_dispatch]\ndirectories = ['none']\n")
    write_settings("[tool.other]\n", "app/inner/pyproject.toml")
    monkeypatch.chdir("app/inner")
    (plugin,) = run("list", "--json", where=["--no-entry-points"]).document["plugins"]
    assert plugin["name"] == "store"


def test_settings_say_what_options_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting does what the option of its name does."""
    monkeypatch.syspath_prepend(str(install("sample-store", group="my_app.plugins")))
    for name in ("a", "b", "c"):
        source = STORE.replace('"store"', f'"{name}"\n        requires_app = ">=3"')
        write_plugin(name, source, folder="addons/inner").rename(f"addons/inner/{name}_addon.py")
    settings = """
        [tool.nitro_dispatch]
        group = "my_app.plugins"
        directories = ["addons"]
        pattern = "*_addon.py"
        recursive = true
        allow = ["a", "b", "sample-store"]
        block = ["b"]
        app_version = "2"
    """
    write_settings(settings)
    plugins = run("list", "--json", where=[]).document["plugins"]
    assert [(each["name"], each["state"]) for each in plugins] == [
        ("sample-store", "registered"),
        ("a", "failed"),
        ("b", "blocked"),
        ("c", "blocked"),
    ]
    write_settings(f"{settings}\n        entry_points = false\n")
    assert len(run("list", "--json", where=[]).document["plugins"]) == 3


def test_options_win_over_settings(run: Run) -> None:
    """An option that is given takes the place of the setting."""
    write_plugin("store", STORE)
    write_settings(
        """
        [tool.nitro_dispatch]
        entry_points = true
        group = ""
        directories = ["none"]
        pattern = "*.none"
        recursive = true
        allow = []
        block = ["store"]
        app_version = "1"
        """
    )
    where = ["--no-entry-points", "--directory", "plugins", "--pattern", "*_plugin.py"]
    options = ["--allow", "store", "--block", "x", "--no-recursive", "--app-version", "3"]
    (plugin,) = run("list", "--json", *options, where=where).document["plugins"]
    assert plugin["state"] == "registered"


def test_an_empty_allow_list_permits_nothing(run: Run) -> None:
    """An empty list in the settings is a list."""
    write_plugin("store", STORE)
    write_settings("[tool.nitro_dispatch]\nallow = []\n")
    (plugin,) = run("list", "--json").document["plugins"]
    assert plugin["state"] == "blocked"


def test_settings_are_read_from_the_file_named(run: Run) -> None:
    """--settings names the file, whatever it is called."""
    write_plugin("store", STORE, folder="etc/addons")
    write_settings("[tool.nitro_dispatch]\ndirectories = ['addons']\n", "etc/plugins.toml")
    where = ["--no-entry-points", "--settings", "etc/plugins.toml"]
    (plugin,) = run("list", "--json", where=where).document["plugins"]
    assert plugin["name"] == "store"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("direktories = []", "'direktories' is unknown; did you mean 'directories'?"),
        ("App-Version = '1'", "'App-Version' is unknown; did you mean 'app_version'?"),
        ("colour = 1", "'colour' is unknown; known are entry_points, group, directories, "),
        (
            "directories = 'plugins'",
            "directories must be a list of texts, none of them empty, not 'plugins'",
        ),
        ("allow = [1]", "allow must be a list of texts, none of them empty, not [1]"),
        ("block = ['']", "block must be a list of texts, none of them empty, not ['']"),
        ("directories = ['']", "directories must be a list of texts, none of them empty"),
        ("recursive = 'yes'", "recursive must be true or false, not 'yes'"),
        ("group = 1", "group must be a text, not 1"),
        ("config = {audit = 1}", "config must be a table for each plugin, not {'audit': 1}"),
    ],
)
def test_bad_settings_are_an_error(run: Run, text: str, fault: str) -> None:
    """A setting that is unknown or of the wrong type is told with the file and what is right."""
    write_settings(f"[tool.nitro_dispatch]\n{text}\n")
    outcome = run("list")
    assert (outcome.code, outcome.out) == (2, "")
    assert "pyproject.toml: in [tool.nitro_dispatch] " in outcome.err
    assert fault in outcome.err


def test_all_faults_of_the_settings_are_told_at_once(run: Run) -> None:
    """Several bad settings make one message that names them all."""
    write_settings("[tool.nitro_dispatch]\ngruop = 'a'\nblock = 'b'\n")
    error = run("list").err
    assert "'gruop' is unknown; did you mean 'group'?; block must be a list of texts" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[tool", "is not TOML: "),
        (b"a = '\xff'", "is not TOML: "),
        (b"[tool]\nnitro_dispatch = 1", "tool.nitro_dispatch must be a table"),
        (b"[tool.other]", "has no table [tool.nitro_dispatch]"),
    ],
)
def test_a_bad_file_of_settings_is_an_error(run: Run, content: bytes, fault: str) -> None:
    """A file that cannot be read as settings is told with what is wrong."""
    Path("settings.toml").write_bytes(content)
    outcome = run("list", "--settings", "settings.toml")
    assert outcome.code == 2
    assert outcome.err.startswith("error: settings.toml")
    assert fault in outcome.err
    assert run("list", "--settings", "none.toml").err.startswith("error: none.toml cannot be read")


# -- what goes wrong, and how it looks


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing command"),
        (("lst",), "No such command 'lst'"),
        (("list", "--direcotry", "x"), "--directory"),
        (("show",), "Missing argument 'NAME'"),
        (("trigger",), "Missing argument 'EVENT'"),
        (("plan", "--why", "a"), "--why takes two names, A and B"),
        (("list", "--allow", ""), "--allow '' is empty: give the name of a plugin"),
        (("list", "--block", "a", "--block", ""), "--block '' is empty: give the name of a plugin"),
        (("list", "--app-version", ""), "--app-version '' is empty: give a version"),
        (("list", "--app-version", "x"), "app_version must be a version such as '3.1'"),
        (("list", "--directory", ""), "the directory is an empty text; give the folder"),
        (("list", "--directory", "none"), "there is no such folder"),
        (("list", "--directory", ".", "--pattern", "../x"), "the pattern '../x' is no pattern"),
        (("list", "--group", ""), "group must be a text"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: tuple[str, ...], text: str) -> None:
    """What the command line cannot do is one line on standard error and the exit code 2."""
    outcome = run(*arguments, where=[])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert text in outcome.err


def test_debug_shows_the_log_and_the_traceback(run: Run) -> None:
    """--debug adds what the library logs, and where an error was raised."""
    write_plugin("broken", "def broken(:")
    outcome = run("--debug", "list")
    assert "ERROR nitro_dispatch.catalog: " in outcome.err
    outcome = run("--debug", "show", "none")
    assert "Traceback (most recent call last):" in outcome.err
    assert "\nerror: no plugin 'none' is found" in outcome.err


def test_an_unexpected_error_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of names its kind, and how to learn where it is."""

    def fail(*_: object, **__: object) -> None:
        raise LookupError("lost")

    monkeypatch.setattr("nitro_dispatch.cli.commands.find_plugins", fail)
    outcome = run("list")
    assert outcome.code == 2
    assert outcome.err == "error: unexpected LookupError: lost (--debug tells where)\n"


def test_a_warning_of_the_library_is_one_line(run: Run) -> None:
    """What the library warns of is told in one line, without the names of loggers."""
    write_plugin("store", STORE)
    Path("plugins").chmod(0o777)
    outcome = run("list")
    assert outcome.err.startswith("warning: anybody may write to ")
    assert outcome.err.count("\n") == 1


def test_the_log_of_the_library_does_not_clutter(run: Run) -> None:
    """A plugin that sets up logging has no failure told a second time, with a traceback."""
    chatty = "import logging\nlogging.basicConfig(force=True)\n"
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        file = write_plugin("failing", chatty, FAILING)
        outcome = run("trigger", "user.login", "{}")
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        root.handlers[:] = handlers
    hook = f"failing ({file}): hook fail on event user.login"
    assert outcome.err == f"failed: {hook}: KeyError: 'username' ({file}:10)\n"


def test_logging_is_left_as_it_was(run: Run) -> None:
    """After a command the logger of the library has its handlers and level again."""
    logger = logging.getLogger("nitro_dispatch")
    before = (logger.handlers[:], logger.level, logger.propagate)
    run("--debug", "list")
    assert (logger.handlers, logger.level, logger.propagate) == before


def test_an_interruption_ends_quietly(run: Run) -> None:
    """Ctrl-C ends a command with 130 and no word; plugins are unloaded."""
    interrupted = """
        class Interrupted(PluginBase):
            name = "interrupted"
            @hook("save")
            def save(self, data):
                raise KeyboardInterrupt
            def on_unload(self):
                print("unloaded")
    """
    write_plugin("interrupted", interrupted)
    outcome = run("trigger", "save")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "unloaded\n")


@pytest.mark.parametrize("options", [(), ("--async",), ("--trace",)])
@pytest.mark.parametrize(
    ("raised", "reason"),
    [("GeneratorExit", "GeneratorExit"), ("type('Own', (BaseException,), {})('no')", "Own: no")],
)
def test_what_no_dispatch_isolates_is_one_line(
    run: Run, raised: str, reason: str, options: tuple[str, ...]
) -> None:
    """A hook that raises no Exception is told with the event; plugins are unloaded."""
    bad = f"""
        class Bad(PluginBase):
            name = "bad"
            @hook("save")
            def save(self, data):
                raise {raised}
            def on_unload(self):
                print("unloaded")
    """
    write_plugin("bad", bad)
    outcome = run("trigger", "save", "1", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"unloaded\nerror: event 'save' was cut short by {reason}\n"


def test_what_plugins_say_cannot_move_the_cursor(run: Run) -> None:
    """Control characters in names, texts and errors are shown escaped."""
    evil = """
        class Evil(PluginBase):
            name = "evil\\x1b[2J"
            description = "a\\x9b1mb [bold]c[/bold] :smile:"
            @hook("save")
            def save(self, data):
                raise ValueError("two\\nlines\\x1b[31m")
    """
    write_plugin("evil", evil)
    outcome = run("show", "evil\x1b[2J")
    assert "a\\x9b1mb [bold]c[/bold] :smile:" in outcome.out
    assert "evil\\x1b[2J" in run("list").out
    outcome = run("trigger", "save", '"\\u001b\\u009b"', "--trace")
    assert "ValueError: two\\nlines\\x1b[31m (" in outcome.err
    assert outcome.err.count("\n") == 1
    for text in (outcome.out, outcome.err):
        assert "\x1b" not in text
        assert "\x9b" not in text


def test_a_row_is_one_line_for_programs(run: Run) -> None:
    """Where standard output is no terminal a row is never folded, however long."""
    events = [f"event.number{number}" for number in range(40)]
    write_plugin("long", STORE.replace('"user.*"', repr(events)))
    assert ", ".join(events) in run("list").out


def printed(width: int, columns: Sequence[str], row: Sequence[Union[str, Parts]]) -> list[str]:
    """Print a table of one row to a terminal of some width."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        for part in table(columns, [row]):
            console.print(part)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_table_loses_nothing(width: int) -> None:
    """Where a table is too wide its cells are folded, and every character is still there."""
    name, events = "averyveryverylongname", ("user.login", "user.registered.somewhere")
    lines = printed(width, ("name", "events"), (name, Parts(events)))
    assert max(map(len, lines)) <= width
    border = lines[1].index("name") + max(len(line.split("  ")[0]) for line in lines[3:])
    assert "".join(line[:border].strip() for line in lines[3:]) == name
    assert "".join(line[border:].strip() for line in lines[3:]) in (
        "".join(events),
        ", ".join(events),
    )


def test_parts_stand_in_one_line_where_there_is_room() -> None:
    """The parts of a cell are set in one line if the table fits, else in a line each."""
    cell = Parts(["user.login", "user.logout"])
    assert printed(60, ("events",), (cell,))[3:-1] == [" user.login, user.logout"]
    assert printed(20, ("events",), (cell,))[3:-1] == [" user.login", " user.logout"]


def test_paths_are_shown_from_here_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the current folder is shown from there, one in the home folder with a tilde."""
    monkeypatch.setenv("HOME", os.path.abspath("home"))
    monkeypatch.setenv("USERPROFILE", os.path.abspath("home"))
    here = os.path.abspath("plugins")
    away = os.path.join("/elsewhere" + os.getcwd(), "x")
    assert short_paths(f"in {here}:3") == "in plugins:3"
    assert short_paths(away) == away
    assert short_paths("no path") == "no path"
    assert short_paths(os.path.join(os.path.abspath("home"), "x")) == os.path.join("home", "x")
    monkeypatch.chdir("/")
    assert short_paths("a/b /c") == "a/b /c"
    home = os.path.expanduser("~")
    assert short_paths(os.path.join(home, "x")) == os.path.join("~", "x")


def test_help_tells_the_exit_codes(run: Run) -> None:
    """--help documents what the exit codes mean, and ends with 0."""
    outcome = run("--help", where=[])
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "Exit codes: 0 all is well, for list and show whatever they find; 1 for plan" in text
    for command in ("list", "show", "plan", "trigger"):
        assert command in outcome.out


@pytest.mark.parametrize("command", [[], ["list"], ["plan"], ["trigger"]])
def test_help_shows_flags_as_flags(run: Run, command: list[str]) -> None:
    """A flag is not shown as an option that takes a value."""
    flags = [
        line
        for line in run(*command, "--help", where=[]).lines
        if re.search("--(json|recursive|entry-points|trace|async|debug|version) ", line)
    ]
    assert flags
    assert not [line for line in flags if "bool" in line.lower()]


def test_version_is_told(run: Run) -> None:
    """--version prints the version of the library."""
    outcome = run("--version", where=[])
    assert (outcome.code, outcome.out) == (0, f"nitro-dispatch {nitro_dispatch.__version__}\n")


@pytest.mark.parametrize("file", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_only_public_names_are_used(file: Path) -> None:
    """The command line imports the root of the package and its own modules, and nothing else."""
    imported = [
        node.module or ""
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.ImportFrom)
    ]
    ours = [name for name in imported if name.startswith("nitro_dispatch.")]
    assert [name for name in ours if not name.startswith("nitro_dispatch.cli")] == []


# -- real processes


def start(*arguments: str, path: Path = PACKAGE.parent, **options: Any) -> subprocess.Popen[bytes]:
    """Start Python with the package that is in a folder."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(path), "PYTHONIOENCODING": "utf-8"},
        **options,
    )


def finish(process: subprocess.Popen[bytes]) -> Outcome:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out.decode(), err.decode())


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """Where typer and rich are not installed, one line says which extra to install."""
    shutil.copytree(PACKAGE, tmp_path / "base" / "nitro_dispatch")
    # Without `site` there are no installed distributions at all.
    done = finish(start("-S", "-m", "nitro_dispatch", "list", path=tmp_path / "base"))
    assert (done.code, done.out) == (2, "")
    assert 'pip install "nitro-dispatch[cli]"' in done.err
    assert done.err.count("\n") == 1


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(tmp_path: Path) -> None:
    """A module of the package that is missing is an error as any other."""
    shutil.copytree(PACKAGE, tmp_path / "nitro_dispatch")
    (tmp_path / "nitro_dispatch" / "cli" / "payload.py").unlink()
    done = finish(start("-m", "nitro_dispatch", "--version", path=tmp_path))
    assert done.code == 1
    assert "No module named 'nitro_dispatch.cli.payload'" in done.err


COMMAND: Final = ("-m", "nitro_dispatch")
PLUGINS: Final = ("--no-entry-points", "--directory", "plugins")


@pytest.mark.slow
def test_it_runs_as_a_module() -> None:
    """`python -m nitro_dispatch` does what was promised for the event that is piped in."""
    write_plugin("greeter", GREETER)
    write_plugin("store", STORE)
    process = start(*COMMAND, "trigger", "user.login", *PLUGINS, stdin=subprocess.PIPE)
    out, err = process.communicate(b'{"username": "Alice"}', timeout=60)
    assert json.loads(out) == {"username": "Alice", "greeted": True}
    assert (process.returncode, err.decode().split()) == (0, ["Welcome!"])


@pytest.mark.slow
def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output has no UTF-8 no command fails for a name."""
    write_plugin("store", STORE.replace('"1.5"', '"1.5 日本"'))
    done = subprocess.run(
        [sys.executable, *COMMAND, "list", *PLUGINS],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "ascii"},
    )
    assert b"1.5 \\u65e5\\u672c" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_a_terminal_is_given_colours_and_no_more_than_its_width() -> None:
    """On a terminal states are coloured, save with NO_COLOR, and no line is too long for it."""
    write_plugin("store", STORE.replace("user.*", "user.with.a.very.long.name"))
    shown = []
    for variables in ({"NO_COLOR": ""}, {"NO_COLOR": "1"}):
        reader, writer = os.openpty()
        environment = {"TERM": "xterm", "COLUMNS": "60", "PYTHONPATH": str(PACKAGE.parent)}
        subprocess.run(
            [sys.executable, *COMMAND, "list", *PLUGINS],
            stdout=writer,
            check=True,
            env={**os.environ, **environment, **variables},
        )
        os.close(writer)
        shown.append(os.read(reader, 100_000).decode())
        os.close(reader)
    coloured, plain = shown
    assert "\x1b[32mregistered" in coloured
    assert "\x1b[3" not in plain
    lines = re.sub(r"\x1b\[[\d;]*m", "", plain).splitlines()
    assert max(map(len, lines)) <= 60
    lost = Counter("plugins/store_plugin.py:3user.with.a.very.long.name") - Counter("".join(lines))
    assert not lost


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_progress_is_shown_on_a_terminal() -> None:
    """While plugins are looked for, a terminal on standard error is told, and is left clean."""
    write_plugin("store", STORE)
    reader, writer = os.openpty()
    subprocess.run(
        [sys.executable, *COMMAND, "list", *PLUGINS],
        stdout=subprocess.DEVNULL,
        stderr=writer,
        check=True,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(PACKAGE.parent)},
    )
    os.close(writer)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert "Looking in plugins" in shown
    # The last thing is to erase the line and to show the cursor again.
    assert shown.endswith("\x1b[2K")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such descriptors")
@pytest.mark.parametrize("command", [("list",), ("trigger", "user.login", "1")])
def test_without_a_standard_output_nothing_is_written(command: tuple[str, ...]) -> None:
    """A program that is started with its standard output closed ends as any other."""
    write_plugin("store", STORE)
    arguments = " ".join([sys.executable, *COMMAND, *command, *PLUGINS])
    done = subprocess.run(
        ["sh", "-c", f"exec {arguments} >&-"],
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_without_a_reader_ends_quietly() -> None:
    """Where nobody reads the listing any more, the command ends with 141 and no word."""
    write_plugin("store", STORE)
    process = start(*COMMAND, "list", *PLUGINS)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_control_c_ends_quietly() -> None:
    """A process that is interrupted in a hook ends with 130 and no traceback."""
    waiting = """
        import sys, time
        class Waiting(PluginBase):
            name = "waiting"
            @hook("save")
            def save(self, data):
                print("ready", flush=True)
                while True:
                    time.sleep(0.01)
    """
    write_plugin("waiting", waiting)
    process = start(*COMMAND, "trigger", "save", *PLUGINS, stdin=subprocess.DEVNULL)
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.code, done.out, done.err) == (130, "", "")


@pytest.mark.slow
def test_a_distribution_installed_by_pip_is_found(tmp_path: Path) -> None:
    """What pip has installed is listed without being imported, and used by `trigger`."""
    project = tmp_path / "project"
    write_plugin("sample", STORE, TOUCH, folder="project/src/sample_store").rename(
        project / "src" / "sample_store" / "__init__.py"
    )
    (project / "pyproject.toml").write_text(
        textwrap.dedent(
            """
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
            [project]
            name = "sample-store"
            version = "3.1"
            [project.entry-points."sample.plugins"]
            store = "sample_store:Store"
            """
        )
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", "site", project], check=True)
    options = ("--group", "sample.plugins", "--json")
    path = f"{PACKAGE.parent}{os.pathsep}{tmp_path / 'site'}"
    listed = finish(start(*COMMAND, "list", *options, path=Path(path)))
    (plugin,) = listed.document["plugins"]
    assert plugin["origin"]["text"] == "sample-store 3.1 (entry point store = sample_store:Store)"
    assert plugin["events"] == ["user.*"]
    assert not Path("it_ran").exists()
    command = (*COMMAND, "trigger", "user.login", "1", *options, "--trace")
    fired = finish(start(*command, path=Path(path)))
    assert [step["plugin"] for step in fired.document["trace"]] == ["store"]
    assert Path("it_ran").exists()
