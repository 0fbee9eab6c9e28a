"""Finds plugins in folders and among installed distributions, and reads one again as it changes.

Run it with `python examples/discovery_example.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from nitro_dispatch import PluginLoadError, PluginManager

PLUGINS = Path(__file__).resolve().parent / "plugins"

RATE = """\
from nitro_dispatch import PluginBase, hook


class Rate(PluginBase):
    name = "rate"

    @hook("price")
    def convert(self, euros):
        return euros * {rate}
"""


def discover() -> None:
    """Describe what is there, and import only what is used."""
    # With lazy=True the plugins are only described, until an event of theirs fires.
    manager = PluginManager(lazy=True)
    print("Found in the folder:", ", ".join(manager.discover_plugins(PLUGINS)))

    for plugin in manager.describe():
        print(f"  {plugin.metadata.name} listens to {', '.join(plugin.events)}")
        for problem in plugin.problems:
            print(f"    it cannot be loaded: {problem}")
    print("Imported so far:", count_imported())

    with manager:
        print("Ready:", ", ".join(manager.load_all()))
        print("Waiting for their first event:", waiting(manager))
        login = manager.trigger("user.login", {"username": "Alice"})
        print("user.login:", login["greeting"], login["session"])
        print("Waiting for their first event:", waiting(manager))


def waiting(manager: PluginManager) -> str:
    names = [plugin.metadata.name for plugin in manager.describe() if plugin.state == "armed"]
    return ", ".join(names) or "none"


def count_imported() -> int:
    """Count the modules of plugins from folders; they are all below one package of their own."""
    return sum(name.startswith("nitro_dispatch._discovered.") for name in sys.modules)


def reload(folder: Path) -> None:
    """Change a plugin while it runs."""
    file = folder / "rate_plugin.py"
    file.write_text(RATE.format(rate=2), encoding="utf-8")
    manager = PluginManager()
    manager.discover_plugins(folder)
    with manager:
        manager.load_all()
        print("10 euros at the first rate:", manager.trigger("price", 10))

        file.write_text(RATE.format(rate=3), encoding="utf-8")
        manager.reload("rate")
        print("after a reload:", manager.trigger("price", 10))

        file.write_text(RATE.format(rate="unknown_rate ("), encoding="utf-8")
        try:
            manager.reload("rate")
        except PluginLoadError as error:
            print("a reload that fails:", type(error.__cause__).__name__)
        print("the old one runs on:", manager.trigger("price", 10))


def installed() -> None:
    """Find what is installed: every distribution with an entry point in the group."""
    manager = PluginManager()
    print("Installed:", ", ".join(manager.discover_entry_points()) or "none")


def main() -> None:
    discover()
    with tempfile.TemporaryDirectory() as folder:
        reload(Path(folder))
    installed()


if __name__ == "__main__":
    main()
