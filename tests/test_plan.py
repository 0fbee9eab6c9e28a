"""The plan: in which order plugins load and what keeps them from it, told by the manager."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitro_dispatch import (
    DependencyError,
    Edge,
    Plan,
    PluginBase,
    PluginManager,
    Problem,
)
from plugin_classes import MakePlugin, manager_with
from plugin_files import Folder, WriteModule


def texts(manager: PluginManager) -> list[str]:
    """List the texts of all problems."""
    return [str(problem) for problem in manager.plan().problems]


def test_the_plan_is_the_order_of_load_all(make_plugin: MakePlugin) -> None:
    """The plan says beforehand what `load_all` will do, and loads nothing."""
    manager = manager_with(
        make_plugin("c", "a"), make_plugin("bad", "missing"), make_plugin("b"), make_plugin("a")
    )
    plan = manager.plan()
    assert isinstance(plan, Plan)
    assert plan.order == ("a", "c", "b")
    assert manager.get_loaded_plugins() == []
    assert manager.failures == {}
    assert manager.load_all() == list(plan.order)
    assert manager.plan().order == plan.order


def test_the_plan_of_nothing() -> None:
    """Without plugins there is an empty plan."""
    plan = PluginManager().plan()
    assert (plan.order, plan.problems, plan.why("a", "b")) == ((), (), ())


def test_the_plan_follows_the_registrations(make_plugin: MakePlugin) -> None:
    """A plan is not changed by what is registered later; a new one knows it."""
    manager = manager_with(make_plugin("app", "store"))
    before = manager.plan()
    manager.register(make_plugin("store"))
    assert (before.order, manager.plan().order) == ((), ("store", "app"))
    manager.unregister("store")
    assert manager.plan().order == ()


def test_a_problem_has_fields_and_a_text(make_plugin: MakePlugin) -> None:
    """Each problem says what, whose, which requirement and what is there, in one line too."""
    manager = manager_with(
        make_plugin("app", "store>=2"), make_plugin("store", version="1.0"), make_plugin("x", "app")
    )
    own, inherited = manager.plan().problems
    assert (own.kind, own.plugin, own.requirement, own.found, own.path) == (
        "version",
        "app",
        "store>=2",
        "1.0",
        (),
    )
    assert str(own) == "app needs store>=2, but version 1.0 is there"
    assert (inherited.kind, inherited.path) == ("dependency", ("x", "app"))
    assert isinstance(own, Problem)


def test_all_problems_of_a_plugin_are_told(make_plugin: MakePlugin) -> None:
    """A plugin with several problems is told with all of them, in the plan and in the error."""
    manager = manager_with(
        make_plugin("app", "missing", "store>=2", requires_python="<3", conflicts=["other"]),
        make_plugin("store"),
        make_plugin("other"),
    )
    assert [problem.kind for problem in manager.plan().problems] == [
        "python",
        "missing",
        "version",
        "conflict",
    ]
    with pytest.raises(DependencyError) as caught:
        manager.load("app")
    assert all(text in str(caught.value) for text in texts(manager))
    assert len(caught.value.problems) == 4


def test_why_names_each_edge_with_its_plugin(make_plugin: MakePlugin) -> None:
    """Why one plugin needs another is a chain, each edge with who declared it and how."""
    manager = manager_with(
        make_plugin("app", "cache>=1"),
        make_plugin("cache", optional_dependencies=["store"]),
        make_plugin("store"),
    )
    first, second = manager.plan().why("app", "store")
    assert isinstance(first, Edge)
    assert (first.plugin, first.requires, first.requirement) == ("app", "cache", "cache>=1")
    assert (second.plugin, second.requires, second.optional) == ("cache", "store", True)
    assert manager.plan().why("store", "app") == ()
    assert manager.plan().why("nobody", "app") == ()
    manager.load_all()
    assert manager.plan().why("app", "store") == (first, second)


def test_the_text_of_a_long_way_is_short(make_plugin: MakePlugin) -> None:
    """A long way to the culprit is told by its two ends; its path is whole."""
    names = [f"p{place}" for place in range(100)]
    plugins = [make_plugin(name, needed) for name, needed in zip(names, [*names[1:], "missing"])]
    problem = manager_with(*plugins).plan().problems[0]
    assert problem.path == tuple(names)
    assert str(problem).startswith("p0 -> p1 -> p2")
    assert str(problem).endswith("-> ... -> p99: p99 needs missing, which is missing")
    assert len(str(problem)) < 200


# -- without an import


@pytest.mark.parametrize("lazy", [False, True])
def test_plan_and_describe_import_nothing(lazy: bool, tmp_path: Path) -> None:
    """Neither `plan` nor `describe` runs a file or makes an instance."""
    (tmp_path / "a_plugin.py").write_text(
        "import pathlib\n"
        "pathlib.Path(__file__ + '.ran').touch()\n"
        "from nitro_dispatch import PluginBase\n"
        "class A(PluginBase):\n"
        "    name = 'a'\n"
        "    dependencies = ['b>=2']\n"
        "    def __init__(self): pathlib.Path(__file__ + '.made').touch()\n"
        "class B(PluginBase):\n"
        "    name = 'b'\n"
        "    version = '2.1'\n"
    )
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(tmp_path)
    assert manager.plan().order == ("b", "a")
    assert [info.metadata.name for info in manager.describe()] == ["a", "b"]
    assert (tmp_path / "a_plugin.py.ran").exists() is not lazy
    assert not (tmp_path / "a_plugin.py.made").exists()


def test_describe_tells_the_states(make_plugin: MakePlugin) -> None:
    """Each plugin is described with its state, and with what keeps it from being loaded."""

    def fail(self: PluginBase) -> None:
        raise OSError("no disk")

    manager = manager_with(
        make_plugin("loaded"),
        make_plugin("disabled"),
        make_plugin("failed", on_load=fail),
        make_plugin("user", "failed"),
        make_plugin("alone", "missing"),
        make_plugin("blocked"),
        block=["blocked"],
    )
    manager.load_all()
    manager.disable_plugin("disabled")
    manager.register(make_plugin("registered"))
    described = {info.metadata.name: info for info in manager.describe()}
    assert {name: info.state for name, info in described.items()} == {
        "loaded": "loaded",
        "disabled": "disabled",
        "failed": "failed",
        "user": "failed",
        "alone": "failed",
        "blocked": "blocked",
        "registered": "registered",
    }
    problems = {name: " ".join(info.problems) for name, info in described.items() if info.problems}
    assert sorted(problems) == ["alone", "blocked", "failed", "user"]
    assert "no disk" in problems["failed"]
    assert "no disk" in problems["user"]
    assert "missing" in problems["alone"]
    assert "block list" in problems["blocked"]


# -- requirements


@pytest.mark.parametrize(
    ("requirement", "version", "fits"),
    [
        ("store", "whatever", True),
        ("store>=1.2,<2", "1.2", True),
        ("store>=1.2,<2", "1.9.9", True),
        ("store>=1.2,<2", "2.0", False),
        ("store >= 1.2 , < 2", "1.5", True),
        ("store==1.*", "1.7", True),
        ("store~=1.4", "1.3", False),
        ("store!=1.5", "1.5", False),
        ("store>=2", "2.1rc1", True),
        ("store>=1", "whatever", False),
    ],
)
def test_a_requirement_may_have_a_specifier(
    requirement: str, version: str, fits: bool, make_plugin: MakePlugin
) -> None:
    """A name may be followed by a specifier, which the version that is there has to fit."""
    manager = manager_with(make_plugin("app", requirement), make_plugin("store", version=version))
    assert ("app" in manager.plan().order) is fits
    assert ("app" in manager.load_all()) is fits


@pytest.mark.parametrize(
    "name", ["my store", "store.v2", "größe", "store[extra]", "a/b", " store ", "1", "-", "; x"]
)
def test_a_name_without_an_operator_is_plain(name: str, make_plugin: MakePlugin) -> None:
    """An entry without an operator is the name as it stands, whatever its characters."""
    manager = manager_with(make_plugin("app", name), make_plugin(name))
    assert manager.load_all() == [name, "app"]


@pytest.mark.parametrize(
    ("app_version", "fits"), [(None, True), ("3.1", True), ("2.9", False), (" V4.rc1 ", True)]
)
def test_requires_app(app_version: Any, fits: bool, make_plugin: MakePlugin) -> None:
    """`requires_app` is checked against `app_version`, and not at all where there is none."""
    manager = manager_with(make_plugin("app", requires_app=">=3"), app_version=app_version)
    assert manager.load_all() == ["app"] * fits
    assert [problem.kind for problem in manager.plan().problems] == ["application"] * (not fits)


def test_an_application_version_is_a_text() -> None:
    """An `app_version` that is no text is a TypeError, at once."""
    with pytest.raises(TypeError, match="app_version"):
        PluginManager(app_version=3)  # type: ignore[arg-type]


def test_requires_python(make_plugin: MakePlugin) -> None:
    """`requires_python` is checked against the running Python."""
    major, minor = sys.version_info[:2]
    manager = manager_with(
        make_plugin("now", requires_python=f">={major}.{minor}"),
        make_plugin("later", requires_python=f">{major}.{minor + 1}"),
        make_plugin("user", "later"),
    )
    assert manager.load_all() == ["now"]
    assert "Python" in str(manager.failures["later"])
    assert manager.failures["user"].via == ("user", "later")


def test_conflicts(make_plugin: MakePlugin) -> None:
    """The plugin that declares a conflict gives way, if the other is there at such a version."""
    manager = manager_with(
        make_plugin("any", conflicts=["store"]),
        make_plugin("old", conflicts=["store<2"]),
        make_plugin("new", conflicts=["store>=2"]),
        make_plugin("absent", conflicts=["nobody"]),
        make_plugin("store", version="2.0"),
    )
    assert manager.load_all() == ["old", "absent", "store"]
    assert texts(manager) == [
        "any conflicts with store, and version 2.0 is there",
        "new conflicts with store>=2, and version 2.0 is there",
    ]
    with pytest.raises(DependencyError, match="conflicts"):
        manager.load("any")


@pytest.mark.parametrize("needed", ["rival", "user"])
def test_what_runs_conflicts_with_what_comes_later(needed: str, make_plugin: MakePlugin) -> None:
    """A plugin is refused while one is loaded that conflicts with it, and so is what needs it."""
    manager = manager_with(make_plugin("any", conflicts=["rival>=2", "other>2"]))
    manager.load("any")
    manager.register(make_plugin("rival", version="2.0"))
    manager.register(make_plugin("user", "rival"))
    manager.register(make_plugin("other", version="2.0"))
    text = "any conflicts with rival>=2, and version 2.0 is there"
    assert texts(manager) == [text]
    with pytest.raises(DependencyError, match=f"{text}$"):
        manager.load(needed)
    manager.load("other")
    assert manager.get_loaded_plugins() == ["any", "other"]
    manager.unload("any")
    manager.load(needed)
    assert manager.is_loaded("rival")


def test_a_conflict_that_only_an_import_tells_counts(
    folder: Folder, make_plugin: MakePlugin
) -> None:
    """What could not be read of a plugin before its import counts once it is loaded."""
    folder.manager = PluginManager(lazy=True)
    manager = folder.load(
        any="from nitro_dispatch import PluginBase\nRIVALS = lambda: ['rival']\n"
        "class Any(PluginBase):\n    name = 'any'\n    conflicts = RIVALS()\n"
    )
    manager.load("any")
    manager.register(make_plugin("rival"))
    with pytest.raises(DependencyError, match="any conflicts with rival, and version"):
        manager.load("rival")


def test_optional_dependencies_come_before(make_plugin: MakePlugin) -> None:
    """Optional dependencies are loaded before where they are there, and do no harm if not."""
    manager = manager_with(
        make_plugin("app", optional_dependencies=["store>=1", "cache>=9", "absent"]),
        make_plugin("cache"),
        make_plugin("store"),
    )
    assert manager.plan().order == ("store", "app", "cache")
    assert manager.load("app").name == "app"
    assert manager.get_loaded_plugins() == ["store", "app"]


def test_optional_dependencies_close_no_circle(make_plugin: MakePlugin) -> None:
    """An optional dependency that would close a circle is left out."""
    manager = manager_with(
        make_plugin("a", optional_dependencies=["b"]), make_plugin("b", "a"), make_plugin("c", "a")
    )
    assert manager.load_all() == ["a", "b", "c"]


# -- policy


def test_a_blocked_plugin_is_not_loaded(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A blocked plugin is passed over and is no failure; to ask for it is an error."""
    manager = manager_with(
        make_plugin("audit"), make_plugin("user", "audit"), make_plugin("store"), block=["audit"]
    )
    errors: list[Any] = []
    manager.register_hook(PluginManager.EVENT_PLUGIN_ERROR, errors.append)
    assert manager.get_registered_plugins() == ["audit", "user", "store"]
    assert manager.load_all() == ["store"]
    assert list(manager.failures) == ["user"]
    assert [error["plugin_name"] for error in errors] == ["user"]
    assert [
        record.getMessage() for record in caplog.records if "audit (" in record.getMessage()
    ] == []
    assert texts(manager) == ["audit is blocked", "user -> audit: audit is blocked"]
    with pytest.raises(DependencyError, match="block list entry 'audit'"):
        manager.load("audit")
    with pytest.raises(DependencyError, match="audit is blocked"):
        manager.load("user")
    assert manager.get_plugin("audit") is None


def test_only_what_is_allowed_is_loaded(make_plugin: MakePlugin) -> None:
    """With an allow list all others are blocked; a pattern allows several."""
    plugins = [make_plugin(name) for name in ("audit", "store-a", "store-b", "Store-c")]
    manager = manager_with(*plugins, allow=["store-*"])
    assert manager.load_all() == ["store-a", "store-b"]
    with pytest.raises(DependencyError, match="allow list"):
        manager.load("audit")
    assert manager_with(*plugins, allow=[]).load_all() == []


def test_the_environment_blocks_and_allows(
    make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables add to the lists, and are read when the manager is made."""
    names = ("audit", "store", "cache")
    plugins = [make_plugin(name) for name in names]
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", " audit , ,")
    assert manager_with(*plugins).load_all() == ["store", "cache"]
    manager = manager_with(*plugins, block=["store"])
    monkeypatch.setenv("NITRO_DISPATCH_ALLOW", "cache,audit")
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", "")
    assert manager.load_all() == ["cache"]
    assert manager_with(*plugins).load_all() == ["audit", "cache"]
    assert manager_with(*plugins, allow=["store"]).load_all() == list(names)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("entry", ["audit", "audit_plugin", "aud*"])
def test_a_blocked_file_is_not_imported(
    entry: str, lazy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is blocked, by the plugin's name or by its own, is never run."""
    (tmp_path / "audit_plugin.py").write_text(
        "import pathlib\n"
        "pathlib.Path(__file__ + '.ran').touch()\n"
        "from nitro_dispatch import PluginBase\n"
        "class Audit(PluginBase): name = 'audit'\n"
    )
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", entry)
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(tmp_path)
    assert manager.load_all() == []
    with pytest.raises(DependencyError, match="NITRO_DISPATCH_BLOCK"):
        manager.load("audit")
    assert not (tmp_path / "audit_plugin.py.ran").exists()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("entry", ["nitro-audit", "trail", "audit"])
def test_a_blocked_distribution_is_not_imported(
    entry: str, lazy: bool, tmp_path: Path, write_module: WriteModule
) -> None:
    """A distribution is blocked by its own name, its entry point's or its plugin's."""
    write_module(
        "nitro_audit_of_this_test.py",
        "from nitro_dispatch import PluginBase\nclass Audit(PluginBase): name = 'audit'\n",
    )
    write_module("nitro_audit-1.0.dist-info/METADATA", "Name: nitro-audit\nVersion: 1.0\n")
    write_module(
        "nitro_audit-1.0.dist-info/entry_points.txt",
        "[nitro_test.plugins]\ntrail = nitro_audit_of_this_test:Audit\n",
    )
    manager = PluginManager(lazy=lazy, block=[entry])
    manager.discover_entry_points("nitro_test.plugins")
    assert manager.load_all() == []
    assert "nitro_audit_of_this_test" not in sys.modules
    free = PluginManager(lazy=lazy)
    assert free.discover_entry_points("nitro_test.plugins") == ["audit"]
    assert free.load("audit").name == "audit"


def test_one_of_two_in_a_file_may_be_blocked(tmp_path: Path) -> None:
    """Of a file with two plugins the one that is not blocked is loaded."""
    (tmp_path / "two_plugin.py").write_text(
        "from nitro_dispatch import PluginBase\n"
        "class A(PluginBase): name = 'a'\n"
        "class B(PluginBase): name = 'b'\n"
    )
    manager = PluginManager(block=["a"])
    manager.discover_plugins(tmp_path)
    assert manager.load_all() == ["b"]


@pytest.mark.parametrize("option", ["allow", "block"])
@pytest.mark.parametrize("names", ["audit", [3], 3])
def test_a_list_of_names_is_a_list_of_names(option: str, names: Any) -> None:
    """A text or a list of something else is a TypeError."""
    with pytest.raises(TypeError):
        PluginManager(**{option: names})


# -- one by one and all at once


NAMES = "abcde"
REQUIREMENTS = st.lists(
    st.builds(
        "{}{}".format, st.sampled_from(NAMES + "x"), st.sampled_from(["", "", "", ">=2", "<2"])
    ),
    max_size=2,
)
PLUGINS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(NAMES),
            "version": st.sampled_from(["1.0", "2.0"]),
            "dependencies": REQUIREMENTS,
            "optional_dependencies": REQUIREMENTS,
            "conflicts": st.lists(st.sampled_from(NAMES), max_size=1),
        }
    ),
    unique_by=lambda values: values["name"],
)


@given(PLUGINS, st.permutations(NAMES), st.sets(st.sampled_from(NAMES), max_size=1))
def test_each_load_agrees_with_the_plan(
    plugins: list[dict[str, Any]], order: list[str], blocked: set[str]
) -> None:
    """A plugin that is loaded alone, in whatever order, fares as in the plan of all."""
    classes = [type("Made", (PluginBase,), values) for values in plugins]
    plan = manager_with(*classes, block=blocked).plan()
    for name in {values["name"] for values in plugins} - set(plan.order) - blocked:
        with pytest.raises(DependencyError) as caught:
            manager_with(*classes, block=blocked).load(name)
        assert list(caught.value.problems) == list(plan.problems_of(name))
        assert list(map(str, caught.value.problems)) == list(map(str, plan.problems_of(name)))
    manager = manager_with(*classes, block=blocked)
    for name in order:
        if name in plan.order:
            manager.load(name)
    assert sorted(manager.get_loaded_plugins()) == sorted(plan.order)
    assert manager_with(*classes, block=blocked).load_all() == list(plan.order)
