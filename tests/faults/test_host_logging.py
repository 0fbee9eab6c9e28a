"""The application's own set-up: what the library leaves as it is over a plugin's whole life."""

from __future__ import annotations

import json
from typing import Any

import pytest

from programs import RunPython

# What an application has set up for its process, in a form that can be compared.
SNAPSHOT = '''
import gc, locale, logging, os, signal, sys, threading, warnings

def of_logger(logger):
    handlers = [(handler, handler.level, handler.formatter) for handler in logger.handlers]
    filters = list(logger.filters)
    return logger.level, handlers, filters, logger.propagate, logger.disabled, logger.parent

def of_process():
    others = {
        name: of_logger(logger)
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and not name.startswith("nitro_dispatch")
    }
    return {
        "root": of_logger(logging.root),
        "loggers": others,
        "last resort": (logging.lastResort, logging.lastResort and logging.lastResort.level),
        "raise exceptions": logging.raiseExceptions,
        "disabled below": logging.root.manager.disable,
        "logger class": logging.getLoggerClass(),
        "record factory": logging.getLogRecordFactory(),
        "level names": [logging.getLevelName(level) for level in range(0, 101, 5)],
        "captured warnings": logging._warnings_showwarning,
        "warnings": (list(warnings.filters), warnings.showwarning, warnings.formatwarning),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "tracing": (sys.gettrace(), sys.getprofile(), sys.getrecursionlimit()),
        "switching": sys.getswitchinterval(),
        "collection": (gc.isenabled(), gc.get_threshold(), gc.get_debug(), list(gc.callbacks)),
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
    }

def changed(before, after):
    """Name what differs; loggers that came with modules of the standard library are no matter."""
    known = {name: after["loggers"].get(name) for name in before["loggers"]}
    after = {**after, "loggers": known}
    return [name for name in before if before[name] != after[name]]
'''

# A whole life of good, failing and slow plugins: from the import to the end.
LIFE = '''
import asyncio, pathlib, threading

FAILING = """
import threading
from nitro_dispatch import PluginBase, hook

class Failing(PluginBase):
    name = "failing"

    @hook("fired")
    def fail(self, data): raise ValueError("failed")

    @hook("fired")
    async def fail_async(self, data): raise ValueError("failed")

    @hook("fired", timeout=0.02)
    def stuck(self, data): threading.Event().wait(0.1)

    @hook("nitro.plugin.unloaded")
    def listen(self, data): raise SystemExit(3)

    def on_error(self, error): raise OSError("no disk")

    def on_unload(self): raise SystemExit(4)
"""

def live(**options):
    from nitro_dispatch import PluginBase, PluginManager, PluginLoadError
    folder = pathlib.Path("plugins")
    folder.mkdir(exist_ok=True)
    (folder / "failing_plugin.py").write_text(FAILING)
    (folder / "broken_plugin.py").write_text("raise SystemExit(5)")
    (folder / "wrong_plugin.py").write_text("this is no Python")
    manager = PluginManager(**options)
    with manager:
        manager.discover_plugins(folder)
        manager.discover_entry_points()
        manager.register(type("Sour", (PluginBase,), {"on_load": lambda self: 1 / 0}))
        manager.load_all()
        for strategy in ("log_and_continue", "collect_all"):
            manager.set_error_strategy(strategy)
            fire(manager)
        (folder / "failing_plugin.py").write_text("raise OSError")
        try:
            manager.reload("failing")
        except PluginLoadError:
            pass
        (folder / "failing_plugin.py").write_text(FAILING)
        manager.reload("failing")
        fire(manager)
        manager.enable_hook_tracing()
        manager.add_tracer(lambda call: 1 / 0)
        fire(manager)
    return manager

def fire(manager):
    async def main():
        loop = asyncio.get_running_loop()
        handlers = []
        loop.set_exception_handler(lambda loop, context: handlers.append(context))
        before = loop.get_exception_handler(), loop.get_task_factory(), loop.get_debug()
        await manager.trigger_async("fired", {})
        await manager.collect_async("fired", {})
        assert before == (loop.get_exception_handler(), loop.get_task_factory(), loop.get_debug())
        assert handlers == []

    manager.trigger("fired", {})
    manager.collect("fired", {})
    manager.trace("fired", {})
    asyncio.run(main())
'''

UNCONFIGURED = """
import logging
"""

CONFIGURED = '''
import logging, locale, signal, sys, threading, warnings

class Keeping(logging.Handler):
    """A handler of the application, which keeps what it hears."""

    def __init__(self):
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.heard = []

    def emit(self, record):
        self.heard.append(self.format(record))

class OwnLogger(logging.Logger):
    """A class of loggers of the application."""

handler = Keeping()
handler.addFilter(lambda record: True)
logging.basicConfig(handlers=[handler], level=logging.WARNING)
logging.setLoggerClass(OwnLogger)
logging.getLogger("application").setLevel(logging.INFO)
logging.getLogger("application").addHandler(Keeping())
logging.addLevelName(35, "NOTICE")
logging.captureWarnings(True)
logging.raiseExceptions = False
logging.lastResort = None
warnings.simplefilter("ignore", DeprecationWarning)
sys.excepthook = lambda *arguments: None
sys.unraisablehook = lambda *arguments: None
threading.excepthook = lambda *arguments: None
signal.signal(signal.SIGTERM, lambda *arguments: None)
locale.setlocale(locale.LC_ALL, "C")
'''

PROGRAM = """
options = {options!r}
before = of_process()
manager = live(**options)
print(changed(before, of_process()))
library = logging.getLogger("nitro_dispatch")
print([type(handler).__name__ for handler in library.handlers], library.level, library.propagate)
"""

HOSTS = {"unconfigured": UNCONFIGURED, "configured": CONFIGURED}


@pytest.mark.parametrize(
    "options",
    [{}, {"log_level": "DEBUG"}, {"log_level": "CRITICAL", "lazy": True}],
    ids=["no level", "debug", "critical, lazy"],
)
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_whole_life_changes_nothing_of_the_application(
    run_python: RunPython, host: str, options: dict[str, Any]
) -> None:
    """Loggers, handlers, hooks, signals, warnings and locale are after a life as before the import.

    An application that has set nothing up hears nothing: standard error stays empty.
    """
    output = run_python(host + SNAPSHOT + LIFE + PROGRAM.format(options=options))
    changes, library = output.splitlines()
    assert changes == "[]"
    level = {"DEBUG": 10, "CRITICAL": 50}.get(options.get("log_level", ""), 0)
    assert library == f"['NullHandler'] {level} True"


HEARD = """
import json
live()
print(json.dumps(handler.heard))
"""


def test_the_application_hears_each_failure_once(run_python: RunPython) -> None:
    """A record goes to the application's handler on the root logger, once, and to no other."""
    heard = json.loads(run_python(CONFIGURED + SNAPSHOT + LIFE + HEARD))

    def count(text: str) -> int:
        return sum(text in record for record in heard)

    # It is fired four times, each time in three sync ways and in two async ones.
    failures = {"fail": 4 * 5, "fail_async": 4 * 2, "stuck": 4 * 5, "listen": 1}
    for hook, times in failures.items():
        for what in ("hook failed", "on_error failed"):
            begins = f"ERROR nitro_dispatch.failures {what}: plugin failing ("
            ours = [record for record in heard if record.startswith(begins)]
            assert sum(f", hook {hook}: " in record for record in ours) == times
    assert count("on_unload of plugin failing (") == 2
    assert count("broken_plugin.py) failed at import: SystemExit: 5") == 1
    assert count("wrong_plugin.py) failed at import: SyntaxError") == 1
    assert count("Plugin Sour (") == 1
    assert all(record.startswith(("ERROR nitro_", "WARNING nitro_")) for record in heard)


REPEATED = """
from nitro_dispatch import PluginManager
for _ in range(2):
    live()
library = logging.getLogger("nitro_dispatch")
print(len(library.handlers), [
    name for name, logger in logging.root.manager.loggerDict.items()
    if name.startswith("nitro_dispatch.") and isinstance(logger, logging.Logger)
    and (logger.handlers or logger.filters or logger.level or not logger.propagate)
])
"""


def test_no_life_leaves_anything_on_the_library_s_loggers(run_python: RunPython) -> None:
    """However many managers there were, the library's loggers have one `NullHandler` in all."""
    assert run_python(UNCONFIGURED + SNAPSHOT + LIFE + REPEATED) == "1 []\n"
