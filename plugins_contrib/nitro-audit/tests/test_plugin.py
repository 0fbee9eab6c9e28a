from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from nitro_dispatch import HookError, PluginBase, PluginLoadError, PluginManager, hook

from nitro_audit import AuditPlugin, Entry, Journal, JournalError, default_path


class Greeter(PluginBase):
    """Changes the data, later than most plugins do."""

    name = "greeter"

    @hook("user.login", priority=-100)
    def greet(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "greeted": True}


@pytest.fixture
def manager(path: Path) -> Iterator[PluginManager]:
    """Give a manager that has loaded the audit plugin."""
    with loaded({"path": path}) as manager:
        yield manager


def loaded(section: dict[str, object]) -> PluginManager:
    manager = PluginManager({"audit": section})
    manager.register(Greeter)
    manager.register(AuditPlugin)
    assert manager.load_all() == ["greeter", "audit"]
    return manager


def journal_of(manager: PluginManager) -> Journal:
    plugin = manager.get_plugin("audit")
    assert isinstance(plugin, AuditPlugin)
    return plugin.journal


def events(manager: PluginManager) -> list[str]:
    return [entry.event for entry in journal_of(manager).tail(None)]


def test_each_dispatch_is_one_entry_with_the_final_data(manager: PluginManager) -> None:
    """What the last hook left is written, and the caller gets the very same."""
    result = manager.trigger("user.login", {"username": "Alice"})
    (entry,) = journal_of(manager).tail()
    assert entry == Entry(1, entry.time, "user.login", {"username": "Alice", "greeted": True})
    assert result == {"username": "Alice", "greeted": True}


@pytest.mark.parametrize("data", [None, {"a": 1}, [object()], 7])
def test_data_are_never_changed(manager: PluginManager, data: object) -> None:
    """The caller gets back the object that it gave."""
    assert manager.trigger("any.event", data) is data
    assert events(manager) == ["any.event"]


def test_async_dispatch_is_written_too(manager: PluginManager) -> None:
    """An event that is fired from async code is an entry like any other."""

    async def fire() -> None:
        await asyncio.gather(*(manager.trigger_async("user.login", {}) for _ in range(3)))

    asyncio.run(fire())
    assert events(manager) == ["user.login"] * 3


def test_only_the_events_that_are_configured_are_written(path: Path) -> None:
    """Names and patterns choose the events."""
    with loaded({"path": path, "events": ["user.*", "db.save"]}) as manager:
        for event in ("user.login", "user.login.failed", "db.save", "db.load"):
            manager.trigger(event, {})
        assert events(manager) == ["user.login", "db.save"]


def test_patterns_that_overlap_make_one_entry(path: Path) -> None:
    """An event that several patterns match is written once."""
    patterns = ["user.*", "**", "user.login", "user.*"]
    with loaded({"path": path, "events": patterns}) as manager:
        manager.trigger("user.login", {})
        manager.trigger("db.save", {})
        assert events(manager) == ["user.login", "db.save"]


def test_events_of_the_framework_are_written_only_if_named(path: Path) -> None:
    """The manager's own events are written for a pattern that begins with theirs, once."""
    startup, loading = "nitro.app.startup", "nitro.plugin.loaded"
    for patterns, written in (
        (["**", "*.app.*"], []),
        (["**", "nitro.app.*"], [startup]),
        (["nitro.**", "**", startup], [loading, startup]),
    ):
        with loaded({"path": path, "events": patterns}) as manager:
            assert events(manager) == written
        path.unlink()


def test_without_configuration_the_journal_is_in_the_users_folder(home: Path) -> None:
    """On a new machine the plugin works as it is."""
    with PluginManager() as manager:
        manager.register(AuditPlugin)
        manager.load_all()
        manager.trigger("user.login", {"password": "hunter2"})
    assert home in default_path().parents
    assert Journal(default_path()).tail()[0].data == {"password": "<redacted>"}


def test_limits_are_configured(path: Path) -> None:
    """The plugin's journal keeps as much as its section says."""
    with loaded({"path": path, "max_rows": 2, "redact": ["name"]}) as manager:
        for name in "abc":
            manager.trigger("event", {"name": name, "password": name})
        entries = journal_of(manager).tail()
    assert [entry.data for entry in entries] == [
        {"name": "<redacted>", "password": name} for name in "bc"
    ]


def test_a_faulty_configuration_is_explained_when_it_is_loaded(path: Path) -> None:
    """All that is wrong with the section is in one error, and no journal is made."""
    manager = PluginManager({"audit": {"path": path, "events": "user.*", "max_rows": 0}})
    manager.register(AuditPlugin)
    with pytest.raises(PluginLoadError, match=r"events must be .*; max_rows must be .*"):
        manager.load("audit")
    assert not path.parent.exists()


def test_an_unknown_key_is_explained_when_it_is_loaded(path: Path) -> None:
    """A misspelled key is named with the nearest right spelling, and no journal is made."""
    manager = PluginManager({"audit": {"path": path, "max_row": 5}})
    manager.register(AuditPlugin)
    with pytest.raises(PluginLoadError, match=r"'max_row' is unknown: did you mean 'max_rows'\?"):
        manager.load("audit")
    assert not path.parent.exists()


def test_a_broken_journal_is_explained_when_it_is_loaded(path: Path) -> None:
    """The error names the path, nothing is left of the plugin, and a retry works."""
    path.parent.touch()
    manager = PluginManager({"audit": {"path": path}})
    manager.register(AuditPlugin)
    with pytest.raises(PluginLoadError) as caught:
        manager.load("audit")
    assert isinstance(caught.value.__cause__, JournalError)
    assert str(path) in str(caught.value)
    assert manager.get_events() == []
    path.parent.unlink()
    assert manager.load("audit").enabled
    manager.unload("audit")


def break_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.touch()


def test_a_journal_that_breaks_later_costs_no_data(
    manager: PluginManager, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The dispatch gives its data, the log names the path, and a repaired journal goes on."""
    break_folder(path)
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        assert manager.trigger("user.login", {}) == {"greeted": True}
    assert str(path) in caplog.text
    path.parent.unlink()
    manager.trigger("user.logout", {})
    assert events(manager) == ["user.logout"]


def test_the_caller_may_be_told_of_a_broken_journal(manager: PluginManager, path: Path) -> None:
    """Under the strategies that report errors the journal's is reported, with the path."""
    break_folder(path)
    manager.set_error_strategy("collect_all")
    manager.trigger("user.login", {})
    (error,) = manager.get_last_errors()
    assert error["plugin"] == "audit"
    assert str(path) in str(error["error"])
    manager.set_error_strategy("fail_fast")
    with pytest.raises(HookError) as caught:
        manager.trigger("user.login", {})
    assert isinstance(caught.value.__cause__, JournalError)
    assert str(path) in str(caught.value)


def test_unloading_closes_the_journal(manager: PluginManager, path: Path) -> None:
    """After the plugin is unloaded all is in the one file, and nothing more is written."""
    manager.trigger("user.login", {})
    manager.unload("audit")
    manager.trigger("user.login", {})
    assert list(path.parent.iterdir()) == [path]
    assert Journal(path).count() == 1


def test_a_reload_goes_on_with_the_journal(manager: PluginManager) -> None:
    """Before and after a reload each event is one entry of the same journal."""
    manager.trigger("user.login", {})
    manager.reload("audit")
    manager.trigger("user.logout", {})
    plugin: Any = manager.get_plugin("audit")
    assert [entry.event for entry in plugin.journal.tail()] == ["user.login", "user.logout"]


def test_other_plugins_may_depend_on_it(manager: PluginManager) -> None:
    """A plugin that needs it is loaded after it and can use the journal."""

    class Summary(PluginBase):
        name = "summary"
        dependencies = ("audit>=1,<2",)

        @hook("summary.wanted")
        def summarize(self, data: object) -> list[str]:
            return events(manager)

    manager.register(Summary)
    assert manager.load("summary").enabled
    manager.trigger("user.login", {})
    assert manager.trigger("summary.wanted") == ["user.login"]


def test_its_version_is_the_distributions() -> None:
    """The version in the class and that of the distribution are one."""
    assert AuditPlugin.version == version("nitro-audit")


def test_it_is_described_without_importing_it() -> None:
    """Its entry point is found, and all that a plan needs is read, while it is not imported."""
    script = """
        import sys
        from nitro_dispatch import PluginManager

        manager = PluginManager(lazy=True)
        print(manager.discover_entry_points())
        print(manager.plan().order, manager.plan().problems)
        print([name for name in sys.modules if name.startswith("nitro_audit")])
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    variables = {**os.environ, "NITRO_DISPATCH_CACHE": "off"}
    output = subprocess.run(
        command, env=variables, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert output == "['audit']\n('audit',) ()\n[]\n"
