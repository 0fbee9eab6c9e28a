"""Rows: how long it takes from the start of an interpreter until an event has been answered.

There are 100 installed plugins, of which 3 listen to the event. The module of each takes 5 ms to
import, in which it keeps the processor busy as an import does. What a first start caches, byte code
among it, is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path
from typing import Final

from measuring import Round, Row, Timed, turn_about

PLUGINS: Final = 100
LISTENING: Final = (10, 50, 90)
# In seconds: what is read of a file is not cached while the file has only just been written.
SETTLED: Final = 2.5
CACHES: Final = "caches"

# One distribution has a module for each library, and an entry point for each.
BUSY: Final = """
from time import perf_counter

until = perf_counter() + 0.005
while perf_counter() < until:
    pass

"""
MODULES: Final = {
    "nitro_dispatch": BUSY
    + """
from nitro_dispatch import PluginBase, hook


class Plugin(PluginBase):
    name = "plugin_{number}"

    @hook("order.{event}")
    def answer(self, data):
        return data + 1
""",
    "pluggy": BUSY
    + """
import pluggy

implementation = pluggy.HookimplMarker("start")


class Plugin:
    @implementation
    def order_{event}(data):
        return 1
""",
    "stevedore": BUSY
    + """

class Plugin:
    event = "order.{event}"

    def answer(self):
        return 1
""",
}

# What an application does to get an answer of the three that listen.
STARTS: Final = {
    "nitro_dispatch": """
        from nitro_dispatch import PluginManager

        manager = PluginManager(lazy=True)
        manager.discover_entry_points("start.nitro_dispatch")
        manager.load_all()
        answer = manager.trigger("order.paid", 0)
    """,
    "by hand": """
        import nitro_dispatch_plugin_10, nitro_dispatch_plugin_50, nitro_dispatch_plugin_90

        answer = nitro_dispatch_plugin_10.Plugin().answer(0)
        answer = nitro_dispatch_plugin_50.Plugin().answer(answer)
        answer = nitro_dispatch_plugin_90.Plugin().answer(answer)
    """,
    "pluggy": """
        import pluggy

        specification = pluggy.HookspecMarker("start")

        class Specifications:
            @specification
            def order_paid(data): ...

            @specification
            def order_sent(data): ...

        manager = pluggy.PluginManager("start")
        manager.add_hookspecs(Specifications)
        manager.load_setuptools_entrypoints("start.pluggy")
        answer = sum(manager.hook.order_paid(data=0))
    """,
    "stevedore": """
        from stevedore import ExtensionManager

        manager = ExtensionManager("start.stevedore", invoke_on_load=True)
        listening = [each.obj for each in manager if each.obj.event == "order.paid"]
        answer = sum(plugin.answer() for plugin in listening)
    """,
}


def started(baseline: str) -> Round:
    """Compare the start of an application that has its plugins loaded lazily with another."""
    folder = Path(tempfile.mkdtemp())
    install(folder)
    settle(folder)
    subject = start(STARTS["nitro_dispatch"], folder)
    entries = len(list((folder / CACHES / "nitro_dispatch").iterdir()))
    assert entries == PLUGINS, f"the first start has cached {entries} plugins"
    return turn_about(subject, start(STARTS[baseline], folder), turns=3)


def start(source: str, folder: Path) -> Timed:
    """Time an interpreter from its start until it has written the answer.

    Args:
        source: What it runs.
        folder: Where the plugins are installed.
    """
    command = [sys.executable, "-c", textwrap.dedent(source) + "print(answer, flush=True)\n"]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    # Caches are those of this benchmark and not the user's.
    caches = folder / CACHES
    variables = {
        **os.environ,
        "PYTHONPATH": path,
        "XDG_CACHE_HOME": str(caches),
        "NITRO_DISPATCH_CACHE": str(caches / "nitro_dispatch"),
    }
    # The folder where it starts is on the path too, and has nothing in it.
    empty = tempfile.mkdtemp(dir=folder)

    def one_start() -> float:
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=empty, env=variables, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            answer = process.stdout.readline()
            seconds = time.perf_counter() - started
        assert answer == f"{len(LISTENING)}\n", answer
        return seconds

    # The first start fills the caches.
    one_start()
    return lambda calls: sum(one_start() for _ in range(calls))


def install(folder: Path) -> None:
    """Let pip install all plugins."""
    with tempfile.TemporaryDirectory() as wheels:
        files = [write_wheel(Path(wheels), number) for number in range(PLUGINS)]
        options = ("-q", "--disable-pip-version-check", "--no-deps", "--no-index")
        command = ["-m", "pip", "install", *options, "--target", str(folder), *map(str, files)]
        subprocess.run([sys.executable, *command], check=True)


def settle(folder: Path) -> None:
    """Wait until all modules are old enough for what is read of them to be cached."""
    youngest = max(module.stat().st_ctime for module in folder.glob("*.py"))
    time.sleep(max(0, youngest + SETTLED - time.time()))


def write_wheel(folder: Path, number: int) -> Path:
    """Write the wheel of one plugin."""
    name = f"start_plugin_{number}"
    event = "paid" if number in LISTENING else "sent"
    info = f"{name}-1.0.dist-info"
    modules = {f"{library}_plugin_{number}": source for library, source in MODULES.items()}
    entry_points = "".join(
        f"[start.{library}]\nplugin_{number} = {library}_plugin_{number}:Plugin\n"
        for library in MODULES
    )
    files = {
        **{
            f"{module}.py": source.format(number=number, event=event)
            for module, source in modules.items()
        },
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return wheel


START: Final = "start to first event, 100 installed plugins of which 3 listen, `lazy=True`"
ROWS: Final = tuple(
    Row(f"start.{name}", START, baseline, started, (compared,), limit, rounds=5)
    for name, compared, baseline, limit in (
        ("hand", "by hand", "importing those 3 by hand", 1.5),
        ("pluggy", "pluggy", "pluggy's start", 0.2),
        ("stevedore", "stevedore", "stevedore's start", 0.2),
    )
)
