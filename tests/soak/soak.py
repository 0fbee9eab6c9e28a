"""The soak run: fire events without a break, change everything meanwhile, and count.

    python tests/soak/soak.py --seconds 300

Eight threads and an event loop dispatch events to the plugins of `plugins/`. Some hooks fail, some
are stuck, and some dispatches are cancelled. Meanwhile plugins are edited and reloaded, at times
with a mistake, switched off and on, unloaded and loaded. Nothing may be lost, done twice, reported
wrongly, or left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
import re
import shutil
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any, Final

from nitro_dispatch import PluginBase, PluginLoadError, PluginManager
from nitro_dispatch.execution import IDLE_LIMIT

THREADS: Final = 8
TASKS: Final = 8

# These hooks are to be called once for each event; others may be away for a while.
ALWAYS: Final = {"steady", "limited", "edited", "dependent"}
SOMETIMES: Final = {"switched", "visiting"}

# What must stay at nothing.
WRONG: Final = ("lost", "doubled", "uncalled for", "failures told wrongly")

# Each of these is prime, so that all combinations come about.
FAILS_EVERY: Final = 7
STUCK_EVERY: Final = 509
CANCELLED_EVERY: Final = 101
ASKED_EVERY: Final = 11
BROKEN_EVERY: Final = 5


class Reports(logging.Handler):
    """Counts what the library reports of failed hooks."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a report; `handle` holds the handler's lock."""
        self.count += hasattr(record, "hook")


class Soak:
    """One manager under load, and what is counted meanwhile.

    Args:
        folder: An empty folder for the plugins.
    """

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.surprises: list[str] = []
        self.reports = Reports()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._until = 0.0
        for file in Path(__file__).with_name("plugins").glob("*_plugin.py"):
            shutil.copy(file, folder)
        self._edited = folder / "edited_plugin.py"
        self._source = self._edited.read_text(encoding="utf-8")
        self._generation = 0
        self.manager = PluginManager()
        self.manager.set_error_strategy("collect_all")
        self.manager.discover_plugins(folder)
        self.manager.load_all()

    def run(self, seconds: float) -> None:
        """Bear the load for a time, and come to rest."""
        self._until = monotonic() + seconds
        runs = [*[self._dispatch] * THREADS, self._dispatch_async, self._change]
        threads = [threading.Thread(target=self._guarded, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, run: Any) -> None:
        counts: Counter[str] = Counter()
        try:
            while monotonic() < self._until and not self.surprises:
                run(counts)
        except BaseException as error:
            self.surprises.append(f"{run.__name__}: {error!r}")
        finally:
            with self._lock:
                self.counts += counts

    def _new_data(self) -> dict[str, Any]:
        number = next(self._numbers)
        return {
            "number": number,
            "path": [],
            "fails": number % FAILS_EVERY == 0,
            "counts": True,
        }

    def _dispatch(self, counts: Counter[str]) -> None:
        """Fire one event from a thread."""
        data = self._new_data()
        if data["number"] % ASKED_EVERY == 0:
            answers = [result.value for result in self.manager.collect("question", data)]
            self._check(counts, answers, ALWAYS, 0)
        elif data["number"] % STUCK_EVERY == 0:
            data["released"] = threading.Event()
            self.manager.trigger("order.stuck", data)
            data["released"].set()
            self._check(counts, data["path"], ALWAYS, 1 + data["fails"])
        else:
            data = self.manager.trigger("order.sync", data)
            expected = ALWAYS if data["fails"] else {*ALWAYS, "atomic"}
            self._check(counts, data["path"], expected, 2 * data["fails"])

    def _dispatch_async(self, counts: Counter[str]) -> None:
        """Fire many events from the tasks of one event loop."""
        asyncio.run(self._dispatch_in_tasks(counts))

    async def _dispatch_in_tasks(self, counts: Counter[str]) -> None:
        await asyncio.gather(*[self._dispatch_in_task(counts) for _ in range(TASKS)])

    async def _dispatch_in_task(self, counts: Counter[str]) -> None:
        for _ in range(50):
            data = self._new_data()
            if data["number"] % CANCELLED_EVERY == 0:
                data["fails"] = data["counts"] = False
                await self._cancel(counts, data)
            elif data["number"] % ASKED_EVERY == 0:
                results = await self.manager.collect_async("question", data)
                self._check(counts, [result.value for result in results], ALWAYS, 0)
            else:
                await self.manager.trigger_async("order.async", data)
                self._check(counts, data["path"], {*ALWAYS, "awaiting"}, 2 * data["fails"])

    async def _cancel(self, counts: Counter[str], data: dict[str, Any]) -> None:
        """Cancel a dispatch somewhere on its way: what it has done by then it did once."""
        task = asyncio.ensure_future(self.manager.trigger_async("order.async", data))
        for _ in range(data["number"] % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        counts["cancelled"] += task.cancelled()
        counts["doubled"] += len(data["path"]) != len(set(data["path"]))

    def _check(
        self, counts: Counter[str], path: list[str], expected: set[str], failures: int
    ) -> None:
        """Compare what an event has done with what it was to do."""
        found = Counter(path)
        counts["dispatches"] += 1
        counts["lost"] += len(expected - found.keys())
        counts["doubled"] += sum(times - 1 for times in found.values())
        counts["uncalled for"] += len(found.keys() - expected - SOMETIMES)
        counts["failures injected"] += failures
        counts["failures told wrongly"] += len(self.manager.get_last_errors()) != failures

    def _change(self, counts: Counter[str]) -> None:
        """Change everything once."""
        self._generation += 1
        if self._generation % BROKEN_EVERY == 0:
            self._edited.write_text("def mistake(:\n", encoding="utf-8")
            try:
                self.manager.reload("edited")
            except PluginLoadError:
                counts["reloads refused"] += 1
            else:
                self.surprises.append("a broken file was loaded")
        edited = re.sub("GENERATION = .*", f"GENERATION = {self._generation}", self._source)
        self._edited.write_text(edited, encoding="utf-8")
        self.manager.reload("edited")
        counts["reloads"] += 1
        if self.manager.trigger("generation") != self._generation:
            self.surprises.append("a reload did not bring what the file says")
        self.manager.disable_plugin("switched")
        self.manager.unload("visiting")
        self.manager.enable_plugin("switched")
        self.manager.load("visiting")
        counts["loads"] += 1


class Footprint:
    """What a process holds at one moment."""

    def __init__(self) -> None:
        gc.collect()
        self.threads = threading.active_count()
        self.modules = len(sys.modules)
        self.plugins = sum(isinstance(each, PluginBase) for each in gc.get_objects())
        self.blocks_of_memory = sys.getallocatedblocks()


def _faults(soak: Soak, before: Footprint, after: Footprint) -> list[str]:
    """Name what must not be."""
    injected, reported = soak.counts["failures injected"], soak.reports.count
    dispatches, remembered = soak.counts["dispatches"], soak.manager.trigger("calls")
    faults = list(soak.surprises)
    faults += [f"{soak.counts[name]} {name}" for name in WRONG if soak.counts[name]]
    if injected != reported:
        faults.append(f"{injected} failures were injected, {reported} reported")
    if dispatches != remembered:
        faults.append(f"a plugin remembers {remembered} of {dispatches} dispatches")
    if after.plugins != before.plugins or after.modules != before.modules:
        faults.append("plugins or modules have been left behind")
    if after.threads > max(before.threads, 1 + IDLE_LIMIT):
        faults.append("threads have been left behind")
    if after.blocks_of_memory > 1.05 * before.blocks_of_memory:
        faults.append("memory grows")
    return faults


def _report(soak: Soak, before: Footprint, after: Footprint, seconds: float) -> None:
    print(f"{seconds:g} seconds on Python {sys.version.split()[0]}")
    counts = {**dict.fromkeys(WRONG, 0), **soak.counts, "failures reported": soak.reports.count}
    for name in sorted(counts):
        print(f"{name:26}{counts[name]:14,}")
    print(f"{'':26}{'at the start':>14}{'at the end':>14}")
    for name, count in vars(before).items():
        print(f"{name.replace('_', ' '):26}{count:14,}{getattr(after, name):14,}")


def main() -> int:
    """Run what the command line asks for; the status is 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=300, metavar="N", help="how long (default: %(default)s)"
    )
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        logging.getLogger("nitro_dispatch").addHandler(soak.reports)
        # What is kept for the next time, such as idle threads, is there after a while.
        soak.run(seconds / 10)
        before = Footprint()
        soak.run(seconds * 9 / 10)
        after = Footprint()
    _report(soak, before, after, seconds)
    faults = _faults(soak, before, after)
    print(*(f"WRONG: {fault}" for fault in faults), sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
