"""From what a source finds to registered plugins: imported by default, only described if lazy."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, Callable, Final, Optional

from nitro_dispatch.catalog import Catalog
from nitro_dispatch.exceptions import (
    PluginDiscoveryError,
    PluginRegistrationError,
    ValidationError,
    qualified_name_of_class,
)
from nitro_dispatch.file_users import is_in_use
from nitro_dispatch.hooks import declared_hooks
from nitro_dispatch.loader import (
    Imports,
    expect_new_modules,
    forget_plugin_file,
    import_plugins,
    keep_module,
)
from nitro_dispatch.plugin import PluginBase, class_values
from nitro_dispatch.records import PluginFailure, Registration, Unread
from nitro_dispatch.reports import log_safely, printable
from nitro_dispatch.sources import DISCOVERED_PACKAGE, NothingThere

if TYPE_CHECKING:
    from nitro_dispatch.sources.candidate import Candidate, Source
    from nitro_dispatch.sources.descriptions import ClassDescription

__all__ = ["Discovery", "import_described"]

logger = logging.getLogger(__name__)

_MATTERS: Final = frozenset(
    (
        "dependencies",
        "optional_dependencies",
        "conflicts",
        "requires_app",
        "requires_python",
        "version",
        "bases",
    )
)


class Discovery:
    """Registers the plugins that sources find.

    Args:
        catalog: Where they are registered.
        registered: Called with each plugin that is new.
        lazy: Whether plugins are described instead of imported.
    """

    def __init__(
        self, catalog: Catalog, registered: Callable[[Registration], None], *, lazy: bool
    ) -> None:
        self._catalog = catalog
        self._registered = registered
        self._lazy = lazy
        # The names of those whose source does not say enough, so that not all are looked through.
        self._vague: dict[str, None] = {}
        # What was there when a place was last searched.
        self._found: dict[Hashable, list[Candidate]] = {}

    def run(self, source: Source) -> list[str]:
        """Register what a source finds.

        Args:
            source: Where to look.

        Returns:
            The names of the plugins found, each once.

        Raises:
            PluginDiscoveryError: The place cannot be searched.
        """
        expect_new_modules()
        names: dict[str, None] = {}
        found, before = source.find(), self._found.get(source.place, [])
        self._found[source.place] = found
        # What is found no more is no longer wrong, and what is may have been mended.
        for candidate in itertools.chain(before, found):
            if self._catalog.find_anew(candidate):
                self._forget_file(candidate)
        for candidate in found:
            names.update(dict.fromkeys(self._take_in_all(candidate, imports=not self._lazy)))
        return list(names)

    def forget(self, registration: Registration) -> None:
        """Hear that a plugin was unregistered: its file is read anew when it is found again.

        Args:
            registration: The plugin, which is in the catalog no more.
        """
        if registration.candidate is not None:
            self._forget_file(registration.candidate)

    def _forget_file(self, candidate: Candidate) -> None:
        """Let a plugin file be read anew of which no manager uses anything.

        No other import is undone.
        """
        if candidate.module.startswith(DISCOVERED_PACKAGE) and not is_in_use(candidate.module):
            forget_plugin_file(candidate)

    def settle(self) -> None:
        """Import the plugins whose source does not say enough to make a plan."""
        # Another thread that asks meanwhile waits for the same import, and so finds its plugins.
        for candidate in self._catalog.to_be_imported():
            self._take_in_all(candidate, imports=True)
            self._catalog.imported(candidate)
        for name in list(self._vague):
            vague = self._catalog.find(name)
            if vague is not None and _is_vague(vague):
                self._read_class(vague)

    def _read_class(self, registration: Registration) -> None:
        imported = Imports()
        try:
            with imported:
                plugin_class = import_described(registration)
            known = self._catalog.from_class(plugin_class, candidate=registration.candidate)
        except (Exception, SystemExit) as error:
            imported.take_back()
            origin = str(registration.metadata.origin)
            self._catalog.fail(PluginFailure(registration.name, origin, "import", error))
        else:
            if registration.take_class(plugin_class):
                registration.metadata = known.metadata
                self._catalog.note_conflicts(registration)
                keep_module(plugin_class)
                self._catalog.works(registration.name)
                self._catalog.changed()

    def _take_in_all(self, candidate: Candidate, *, imports: bool) -> list[str]:
        """Register what a candidate has; an import of which nothing came but faults is taken back.

        Returns:
            The names of its plugins.
        """
        imported = Imports()
        found = self._registrations(candidate, imported if imports else None)
        names = [name for name in map(self._take_in, found) if name]
        if not names and self._catalog.is_broken(candidate):
            imported.take_back()
        return names

    def _registrations(
        self, candidate: Candidate, imported: Optional[Imports]
    ) -> Iterator[Registration]:
        if candidate.error is not None:
            self._fail(candidate, candidate.stage or "discover", candidate.error)
        elif imported is not None and not self._is_refused(candidate):
            yield from self._imported(candidate, imported)
        else:
            yield from self._described(candidate)

    def _is_refused(self, candidate: Candidate) -> bool:
        """Tell, before anything is imported, whether every plugin of a candidate is refused."""
        policy = self._catalog.policy
        if not policy.is_restrictive:
            return False
        try:
            described = candidate.describe()
        except Exception:  # What is wrong shows when it is imported.
            described = ()
        names = [str(each.values.get("name", each.class_name)) for each in described]
        if not names:
            return bool(policy.refusal(*candidate.names))
        return all(policy.refusal(name, *candidate.names) for name in names)

    def _imported(self, candidate: Candidate, imported: Imports) -> Iterator[Registration]:
        try:
            with imported:
                classes = import_plugins(candidate)
        except (Exception, SystemExit) as error:
            self._fail(candidate, "import", error)
            return
        for plugin_class in classes:
            make = functools.partial(self._catalog.from_class, candidate=candidate)
            yield from self._made(candidate, make, plugin_class)

    def _described(self, candidate: Candidate) -> Iterator[Registration]:
        try:
            descriptions = candidate.describe()
        except PluginDiscoveryError as error:
            # It is imported all the same when that matters: a package may make what seems to lack.
            is_missing = isinstance(error, NothingThere)
            unread = Unread(candidate, reason=str(error), is_missing=is_missing)
            self._catalog.leave_unread(unread)
            return
        except Exception as error:
            self._fail(candidate, "describe", error)
            return
        if not descriptions:
            reason = "no plugin class can be seen in its source"
            self._catalog.leave_unread(Unread(candidate, reason=reason))
        for description in descriptions:
            if _is_uncertain(description):
                # It may turn out to have any name, or not to be there: imported when that matters.
                self._catalog.leave_unread(Unread(candidate, description))
                continue
            make = functools.partial(self._catalog.from_description, candidate=candidate)
            yield from self._made(candidate, make, description)

    def _made(
        self, candidate: Candidate, make: Callable[[Any], Registration], found: object
    ) -> Iterator[Registration]:
        """Make the registration of one class, which hides no other if that fails."""
        try:
            yield make(found)
        except (ValidationError, PluginRegistrationError) as error:
            self._fail(candidate, "describe", error, name=error.plugin)
        except (Exception, SystemExit) as error:  # A metaclass may work out what is asked for.
            self._fail(candidate, "describe", error)

    def _take_in(self, registration: Registration) -> str:
        """Register one plugin.

        Returns:
            Its name, or "" where another plugin has it.
        """
        try:
            if _is_vague(registration):
                self._vague[registration.name] = None
            if self._catalog.discover(registration):
                self._registered(registration)
        except PluginRegistrationError as error:
            origin = str(registration.metadata.origin)
            failure = PluginFailure(registration.name, origin, "discover", error)
            self._catalog.fail(failure, key=origin, candidate=registration.candidate)
            return ""
        return registration.name

    def _fail(
        self, candidate: Candidate, stage: str, error: BaseException, *, name: str = ""
    ) -> None:
        origin = str(candidate.origin)
        # A name that a good plugin has already stays the good one's.
        key = origin if self._catalog.find(name) is not None else ""
        failure = PluginFailure(name, origin, stage, error)
        self._catalog.fail(failure, key=key, candidate=candidate)


def _is_uncertain(description: ClassDescription) -> bool:
    """Tell whether it is open under which name a class will register, or whether it will."""
    unknown = {each.field for each in description.unknown}
    return "class" in unknown or (
        not unknown.isdisjoint(("name", "bases")) and "name" not in description.values
    )


def _is_vague(registration: Registration) -> bool:
    """Tell whether what the source does not say matters to the plan."""
    description = registration.description
    if description is None or registration.plugin_class is not None or registration.refusal:
        return False
    return any(unknown.field in _MATTERS for unknown in description.unknown)


def import_described(registration: Registration) -> type[PluginBase]:
    """Import the class of a plugin that is only described, and compare it with what was read.

    Args:
        registration: The plugin.

    Returns:
        Its class.

    Raises:
        PluginRegistrationError: The import gives no such class.
        BaseException: Whatever the import raises.
    """
    candidate, described = registration.candidate, registration.description
    assert candidate is not None, "what has no class yet was found by a source"
    assert described is not None, "what has no class yet is described"
    for plugin_class in import_plugins(candidate):
        if qualified_name_of_class(plugin_class) == described.class_name:
            _warn_of_differences(described, plugin_class)
            return plugin_class
    raise PluginRegistrationError(
        f"{registration.metadata.origin} has no plugin class {described.class_name} any more "
        "once it is imported: define it at the top of the module"
    )


def _warn_of_differences(description: ClassDescription, plugin_class: type[PluginBase]) -> None:
    """Compare a class with what was read of its source, and warn of each difference."""
    unknown = {each.field for each in description.unknown}
    real = class_values(plugin_class)
    read = {"name": description.class_name, **description.values}
    for field in sorted({*real, *read} - unknown):
        if _plain(real.get(field)) != _plain(read.get(field)):
            _warn(plugin_class, field, read.get(field), real.get(field))
    if not unknown & {"hooks", "bases"}:
        hooks_read = [(event, hook.method) for hook in description.hooks for event in hook.events]
        hooks_real = declared_hooks(plugin_class)
        if sorted(hooks_read) != sorted(hooks_real):
            _warn(plugin_class, "hooks", hooks_read, hooks_real)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _warn(plugin_class: type[PluginBase], field: str, read: object, real: object) -> None:
    # Imported here because it is slow to import, and only needed to warn.
    from inspect import getsourcefile

    log_safely(
        logger,
        logging.WARNING,
        "%s: %s of %s is %s after the import, but %s was read from the source: "
        "write it as a literal in the class body",
        printable(getsourcefile(plugin_class) or plugin_class.__module__),
        field,
        printable(plugin_class.__qualname__),
        printable(repr(real)),
        printable(repr(read)),
    )
