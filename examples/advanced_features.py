"""A report builder: dependencies, order, typed events and settings, tracing, lifecycle events.

Run it with `python examples/advanced_features.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from nitro_dispatch import DependencyError, Event, HookCall, PluginBase, PluginManager, hook


@dataclass
class Report:
    title: str
    lines: list[str] = field(default_factory=list)


# A declared event is a string that also says what data it carries: a type checker knows that
# `trigger(BUILD, report)` takes a Report and returns one.
BUILD = Event("report.build", payload=Report, description="A report is put together.")


@dataclass
class StoreSettings:
    folder: str
    keep_days: int = 30


class Store(PluginBase):
    name = "store"
    version = "1.4.0"
    # The plugin's section of the configuration is checked against this when the plugin is loaded.
    config_model = StoreSettings
    settings: StoreSettings

    @hook("report.find")
    def find(self, title: str) -> Optional[str]:
        return f"{self.settings.folder}/{title}.txt" if title == "sales" else None


class Archive(PluginBase):
    name = "archive"

    @hook("report.find", priority=10)
    def find(self, title: str) -> str:
        return f"/archive/{title}.txt"


class Summary(PluginBase):
    name = "summary"
    version = "2.0.0"
    dependencies = ["store>=1.2,<2"]

    # Both this hook and that of "footer" have the usual priority. This one asks to be first.
    @hook(BUILD, before="footer")
    def summarize(self, report: Report) -> None:
        report.lines.append(f"{report.title}: 3 pages")


class Footer(PluginBase):
    name = "footer"
    optional_dependencies = ["store"]

    @hook(BUILD)
    def sign(self, report: Report) -> None:
        report.lines.append("-- end --")


class Charts(PluginBase):
    name = "charts"
    dependencies = ["summary>=3"]


def show_dependencies(manager: PluginManager) -> None:
    plan = manager.plan()
    print("Order of loading:", ", ".join(plan.order))
    for problem in plan.problems:
        print("Problem:", problem)
    for edge in plan.why("charts", "store"):
        print("Why charts needs store:", edge)
    try:
        manager.load("charts")
    except DependencyError as error:
        print("DependencyError:", error)


def show_looking_on(manager: PluginManager) -> None:
    def log(call: HookCall) -> None:
        print(f"  {call.plugin}.{call.hook} {call.outcome}")

    print("A tracer is told of every call:")
    remove_tracer = manager.add_tracer(log)
    report = manager.trigger(BUILD, Report("sales"))
    remove_tracer()
    print("  result:", report.lines)

    print("A trace tells what each hook changed:")
    for step in manager.trace(BUILD, Report("stock")).steps:
        for change in step.changes or ():
            print(f"  {step.plugin}.{step.hook}: {change.path} is now {change.after!r}")


def main() -> None:
    manager = PluginManager({"store": {"folder": "/reports"}})

    def announce(data: dict[str, Any]) -> None:
        print(f"Loaded {data['plugin_name']} {data['version']}")

    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, announce)
    for plugin in (Footer, Summary, Store, Archive, Charts):
        manager.register(plugin)

    show_dependencies(manager)
    with manager:
        manager.load_all()
        for name, failure in manager.failures.items():
            print(f"Failed: {name} at {failure.stage}")

        print("The first answer counts:")
        for title in ("sales", "stock"):
            print(f"  {title}:", manager.first("report.find", title))

        show_looking_on(manager)


if __name__ == "__main__":
    main()
