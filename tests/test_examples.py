"""The examples: each program is run as a reader runs it, and the plugins do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Optional

import pytest

from nitro_dispatch import Origin, PluginBase, PluginManager

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"

OUTPUTS: Final = {
    "basic_usage.py": """\
Loaded: voucher, tax, loyalty, receipt
An order with a voucher:
  loyalty failed with KeyError('customer_number'); the order goes on
  teapot: 11.00
  returned to the shop: {'item': 'teapot', 'cents': 1100, 'voucher': 'SPRING'}
The same without the plugins that are switched off:
  teapot: 22.00
Events with hooks: ['order.placed']
Loaded at the end: []
""",
    "advanced_usage.py": """\
Messages:
  'bonjour' became {'text': 'hello'}
  'you won the lottery' became {'text': 'you won the lottery', 'rejected': 'spam'}
  on_error of link-preview: HookTimeoutError: took longer than its time limit of 0.05 s
  'https://example.org' became {'text': 'https://example.org'}
Every plugin's own answer, asked all at once:
  emoji: :wave:
  translator: reply in French
What became of a failing hook:
  log_and_continue: 'seven'
  collect_all: anonymous on number.parse - invalid literal for int() with base 10: 'seven'
  fail_fast: hook 'int' of plugin 'anonymous' failed on event 'number.parse': \
ValueError: invalid literal for int() with base 10: 'seven'
  and the cause: ValueError("invalid literal for int() with base 10: 'seven'")
""",
    "advanced_features.py": """\
Order of loading: store, footer, summary, archive
Problem: charts needs summary>=3, but version 2.0.0 is there
Why charts needs store: charts needs summary>=3
Why charts needs store: summary needs store>=1.2,<2
DependencyError: failed to load plugin 'charts' ({examples}/advanced_features.py): \
charts needs summary>=3, but version 2.0.0 is there
Loaded store 1.4.0
Loaded footer 1.0.0
Loaded summary 2.0.0
Loaded archive 1.0.0
Failed: charts at resolve
The first answer counts:
  sales: /reports/sales.txt
  stock: /archive/stock.txt
A tracer is told of every call:
  summary.summarize passed
  footer.sign passed
  result: ['sales: 3 pages', '-- end --']
A trace tells what each hook changed:
  summary.summarize: lines[0] is now 'stock: 3 pages'
  footer.sign: lines[1] is now '-- end --'
""",
    "discovery_example.py": """\
Found in the folder: greeting, session, visits
  greeting listens to user.login
  session listens to user.*
  visits listens to user.login
    it cannot be loaded: visits needs audit>=1,<2, which is missing
Imported so far: 0
Ready: greeting, session
Waiting for their first event: greeting
user.login: Welcome, Alice! {'event': 'user.login', 'actions': 0}
Waiting for their first event: none
10 euros at the first rate: 20
after a reload: 30
a reload that fails: SyntaxError
the old one runs on: 30
Installed: {installed}
""",
}


@dataclass(frozen=True)
class Entry:
    """What the journal of the plugin "audit" has of an event."""

    data: object


class Journal:
    """Stands for the journal of the plugin "audit", which is in a distribution of its own."""

    def tail(self, count: Optional[int], *, event: str) -> list[Entry]:
        """Give two logins of Alice's, one of Bob's, and one that is no mapping."""
        assert (count, event) == (None, "user.login")
        users = ("Alice", "Bob", "Alice")
        return [Entry("text"), *(Entry({"username": user}) for user in users)]


class Audit(PluginBase):
    """Stands for the plugin "audit"."""

    name = "audit"
    version = "1.3"
    journal = Journal()


@pytest.fixture
def manager() -> PluginManager:
    """Give a manager with the example plugins."""
    manager = PluginManager()
    manager.discover_plugins(EXAMPLES / "plugins")
    return manager


def test_every_example_has_an_output() -> None:
    """No example is left untested."""
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(OUTPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_example_prints_what_happens(name: str, tmp_path: Path) -> None:
    """An example runs from any folder, without a warning, and prints exactly this."""
    environment = {key: text for key, text in os.environ.items() if "NITRO_DISPATCH" not in key}
    environment["NITRO_DISPATCH_CACHE"] = "off"
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Which plugins are installed depends on where the tests run.
    installed = ", ".join(PluginManager(lazy=True).discover_entry_points()) or "none"
    expected = OUTPUTS[name].replace("{installed}", installed)
    expected = expected.replace("{examples}", str(EXAMPLES))
    assert (result.stdout, result.stderr, result.returncode) == (expected, "", 0)


def test_the_plugins_are_found(manager: PluginManager) -> None:
    """All plugins of the folder are found, and none is broken."""
    assert manager.get_registered_plugins() == ["greeting", "session", "visits"]
    assert manager.failures == {}


def test_their_source_says_all(manager: PluginManager) -> None:
    """What is read of the plugins without importing them is what the imported ones are."""
    lazy = PluginManager(lazy=True)
    lazy.discover_plugins(EXAMPLES / "plugins")
    assert [info.unknown for info in lazy.describe()] == [(), (), ()]
    described, imported = (
        # The origin of the one has the line of the class too.
        [(replace(info.metadata, origin=Origin()), info.events) for info in found.describe()]
        for found in (lazy, manager)
    )
    assert described == imported


def test_without_audit_the_others_run(manager: PluginManager) -> None:
    """Where "audit" is missing the problem says so, and the other plugins work."""
    assert manager.load_all() == ["greeting", "session"]
    failure = manager.failures["visits"]
    assert (failure.stage, str(failure.problem)) == (
        "resolve",
        "visits needs audit>=1,<2, which is missing",
    )
    assert manager.trigger("user.login", {"username": "Alice"}) == {
        "username": "Alice",
        "greeting": "Welcome, Alice!",
        "session": {"event": "user.login", "actions": 0},
    }


@pytest.mark.parametrize(
    ("user", "earlier", "greeting"),
    [("Alice", 2, "Welcome back, Alice!"), ("Zoe", 0, "Welcome, Zoe!")],
)
def test_with_audit_visits_are_counted(
    manager: PluginManager, user: str, earlier: int, greeting: str
) -> None:
    """The logins in the journal are counted before the greeting, which depends on them."""
    manager.register(Audit)
    assert manager.load_all() == ["greeting", "session", "audit", "visits"]
    login = manager.trigger("user.login", {"username": user})
    assert (login["earlier_logins"], login["greeting"]) == (earlier, greeting)


def test_a_session_ends_with_the_logout(manager: PluginManager) -> None:
    """What a user does is counted from login to logout, and forgotten afterwards."""
    manager.load_all()
    events = ("user.login", "user.search", "user.logout", "user.search")
    counts = [
        manager.trigger(event, {"username": "Alice"})["session"]["actions"] for event in events
    ]
    assert counts == [0, 1, 2, 1]
