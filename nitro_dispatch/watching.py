"""Watching the sources of plugins: what is loaded is reloaded when its source changes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import source_hash
from typing import Any, Callable, Final, Optional

from nitro_dispatch.exceptions import NitroPluginError, PluginLoadError, describe_error
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.lifecycle import Lifecycle
from nitro_dispatch.loader import is_imported
from nitro_dispatch.loading import Loading, load_error
from nitro_dispatch.records import Registration, ReloadResult
from nitro_dispatch.reload import going_along, reload_together, root_of
from nitro_dispatch.reports import Text, line_of, log_failure, origin_of_class
from nitro_dispatch.sources.directory import is_passed_over

__all__ = ["Watch"]

logger = logging.getLogger(__name__)

# A hash of what is in each source file. Its time would not tell of a second save within one tick of
# the file system's clock, and would tell of a file that is as it was.
Contents = Mapping[str, Optional[bytes]]

# So many milliseconds nothing may change for a save to be over.
_PAUSE: Final = 25
# What happens while a watch begins, in a folder that was just made, or behind a symbolic link is in
# no notification. It is looked for after the first pause and then after each so many.
_PAUSES: Final = 20

# So many seconds `stop` waits for the end of a reload that is under way.
_PATIENCE: Final = 1.0


class Watch:
    """Reloads plugins whose sources change, in a thread of its own.

    Args:
        lifecycle: Where the plugins live.
        loading: Loads what the new plugins need besides.
        callback: Told of each reload; None for nobody.

    Raises:
        NitroPluginError: The library `watchfiles` is not installed.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        loading: Loading,
        callback: Optional[Callable[[ReloadResult], object]],
    ) -> None:
        self._lifecycle = lifecycle
        self._loading = loading
        self._callback = callback
        self._notifications = _notifications()
        # What was in the sources of each plugin when they were last read.
        self._read: dict[Registration, Contents] = {}
        # Those that could not be reloaded then, and so are to go along with the next change.
        self._failed: set[Registration] = set()
        # How many others reload each just now.
        self._left: Counter[Registration] = Counter()
        self._trouble = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nitro-dispatch-watch", daemon=True)
        for registration in lifecycle.catalog:
            self.follow(registration)

    @property
    def is_on(self) -> bool:
        """Whether it reloads what changes; in a child process after a fork it does not."""
        return self._thread.is_alive() and not self._stopped.is_set()

    def follow(self, registration: Registration) -> None:
        """Note what is in the sources of a plugin that were read just now.

        Args:
            registration: The plugin.
        """
        self._read[registration] = _sources_of(registration).contents

    @contextlib.contextmanager
    def leaving(self, registration: Registration) -> Iterator[None]:
        """Leave a plugin, and what goes along, to somebody else who reloads it in the block.

        Args:
            registration: The plugin.
        """
        # Noted before they are read anew, as an edit may come at any moment after that.
        contents = {
            each: _sources_of(each).contents for each in going_along(self._lifecycle, registration)
        }
        counted = Counter(contents.keys())
        with self._lifecycle.catalog.lock:
            self._left += counted
        try:
            yield
            self._read.update(contents)
            self._failed.difference_update(contents)
        finally:
            with self._lifecycle.catalog.lock:
                self._left -= counted

    def start(self) -> None:
        """Begin.

        Raises:
            NitroPluginError: The system gives no thread.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            message = f"no thread can be started to watch plugins: {error}"
            raise NitroPluginError(message, cause=error) from error
        # A thread that is in code of watchfiles when the interpreter ends may abort the process.
        atexit.register(self.stop)

    def stop(self) -> None:
        """Reload no more; a second time it does nothing.

        It waits for the end of a reload that is under way, but not for long: that may be stuck, or
        wait for this thread.
        """
        self._stopped.set()
        atexit.unregister(self.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen(self._look())
            except BaseException as error:
                self._complain(error)
                self._stopped.wait(_PAUSE * _PAUSES / 1000)

    def _complain(self, error: BaseException) -> None:
        """Log what is in the way of watching, once for as long as it is."""
        trouble = describe_error(error)
        if trouble != self._trouble:
            _log("The sources of plugins cannot be watched as they should be", error)
        self._trouble = trouble

    def _listen(self, folders: set[str]) -> None:
        """Look at the sources when something changes, until the folders are others."""
        notifications = self._notifications(
            *folders,
            watch_filter=None,
            stop_event=self._stopped,
            step=_PAUSE,
            rust_timeout=_PAUSE,
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        )
        for pauses, changes in enumerate(notifications):
            is_due = changes or pauses % _PAUSES == 0
            if is_due and self._look(settled=bool(changes)) != folders:
                return

    def _look(self, *, settled: bool = False) -> set[str]:
        """Reload what has changed.

        Args:
            settled: Whether nobody is saving a file just now: half of one would be a broken one.

        Returns:
            The folders with the sources, as far as they are there.
        """
        found = self._find()
        changed = self._changed(found)
        if changed and not settled:
            self._stopped.wait(_PAUSE / 1000)
            before, found = changed, self._find()
            changed = {
                each: contents
                for each, contents in self._changed(found).items()
                if contents == before.get(each)
            }
        for group in self._groups(changed):
            files = {
                path
                for each in group
                for path, _ in changed[each].items() ^ self._read[each].items()
            }
            if files and self._left.keys().isdisjoint(group) and not self._stopped.is_set():
                self._read.update((each, changed[each]) for each in group)
                self._reload(group, files)
        folders = {folder for sources in found.values() for folder in sources.folders}
        return set(filter(os.path.isdir, folders))

    def _find(self) -> dict[Registration, _Sources]:
        """Read the sources of all plugins."""
        # Noted first: another thread may register one while the others are read.
        known = set(self._read)
        found: dict[Registration, _Sources] = {}
        for each in self._lifecycle.catalog:
            found[each] = _sources_of(each)
            # Looked at last, as an import that began before may have read what was there before;
            # and the owner first, as an import gives the class before it has none again.
            is_idle = each.owner is None and each.plugin_class is None
            # It may be of a file that was imported for another plugin.
            if is_idle and each.candidate is not None and not is_imported(each.candidate):
                self._read[each] = found[each].contents
        for gone in known.difference(found):
            del self._read[gone]
            self._failed.discard(gone)
        return found

    def _changed(self, found: Mapping[Registration, _Sources]) -> dict[Registration, Contents]:
        """List the loaded plugins that run from other sources, each after what it needs."""
        with self._lifecycle.catalog.lock:
            loaded = [each for each in self._lifecycle.loaded.values() if each in found]
        contents = {each: found[each].contents for each in loaded}
        return {
            each: now
            for each, now in contents.items()
            if each in self._failed or now != self._read.setdefault(each, now)
        }

    def _groups(self, changed: Iterable[Registration]) -> Iterable[list[Registration]]:
        """Part changed plugins in such a way that no other plugin goes along with two parts."""
        groups: dict[frozenset[Registration], list[Registration]] = {}
        for each in changed:
            together = frozenset([each, *going_along(self._lifecycle, each)])
            members = [each]
            for other in [other for other in groups if not other.isdisjoint(together)]:
                members = groups.pop(other) + members
                together |= other
            groups[together] = members
        return groups.values()

    def _reload(self, group: list[Registration], files: set[str]) -> None:
        """Reload plugins together, and tell of it."""
        names: tuple[str, ...] = ()
        fault: Optional[PluginLoadError] = None
        try:
            names = tuple(reload_together(self._lifecycle, self._loading, *group))
        except PluginLoadError as error:
            fault = error
        except BaseException as error:
            # An interrupt that a plugin made itself is for nobody else in this thread.
            fault = load_error(group[0], error)
        if fault is None:
            self._failed.difference_update(group)
        else:
            self._failed.update(group)
            _log("A changed plugin is not reloaded", fault)
        if names or fault is not None:
            self._tell(ReloadResult(names, tuple(sorted(files)), fault))

    def _tell(self, result: ReloadResult) -> None:
        if self._callback is None or self._stopped.is_set():
            return
        try:
            self._callback(result)
        except BaseException as error:
            _log("The callback of a watch failed", error)


def _log(what: str, error: BaseException) -> None:
    log_failure(logger, error, what, {"location": Text(line_of, error)})


def _notifications() -> Callable[..., Iterator[Any]]:
    """Find what tells of changes in folders.

    Raises:
        NitroPluginError: It is not installed.
    """
    # Imported here because it is an extra.
    try:
        from watchfiles import watch
    except ImportError as error:
        raise NitroPluginError(
            "to watch plugins takes the library watchfiles: install it with "
            'pip install "nitro-dispatch[watch]"',
            cause=error,
        ) from error
    return watch


class _Sources(Frozen):
    """What is in the source files of a plugin, and the folders to be watched for more."""

    contents: Contents
    folders: set[str]


def _sources_of(registration: Registration) -> _Sources:
    """Read what a reload of a plugin would read anew."""
    path, is_package = _place_of(registration)
    if not path:
        return _Sources({}, set())
    folder, name = os.path.split(os.path.abspath(path))
    tree = dict(_tree(folder)) if is_package else {folder: [name]}
    files = [os.path.join(inside, each) for inside, names in tree.items() for each in names]
    return _Sources({file: _content(file) for file in files}, set(tree))


def _place_of(registration: Registration) -> tuple[str, bool]:
    """Say in which file the source of a plugin is, and whether all beside it counts too."""
    candidate, plugin_class = registration.candidate, registration.plugin_class
    root = root_of(registration)
    if candidate is not None and (plugin_class is None or (root is not None and root.whole)):
        return candidate.path, candidate.is_package
    if plugin_class is not None and root is not None:
        return origin_of_class(plugin_class).file, False
    return "", False


def _tree(folder: str) -> Iterator[tuple[str, list[str]]]:
    """List each folder of a package with the names of its source files."""
    for inside, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_passed_over(name)]
        yield inside, [name for name in files if name[-3:] == ".py" and not is_passed_over(name)]


def _content(file: str) -> Optional[bytes]:
    """Tell one content of a file from another; None where there is none."""
    try:
        if os.path.isfile(file):
            with open(file, "rb") as source:
                return source_hash(source.read())
    except OSError:
        pass
    return None
