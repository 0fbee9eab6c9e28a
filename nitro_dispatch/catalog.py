"""The plugins that an application knows of, and what is wrong with those that do not work."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Optional

from nitro_dispatch.exceptions import (
    PluginNotFoundError,
    PluginRegistrationError,
    qualified_name_of_class,
    shown,
)
from nitro_dispatch.file_users import FileUsers
from nitro_dispatch.loader import keep_module
from nitro_dispatch.metadata import Origin, PluginMetadata
from nitro_dispatch.plugin import class_values, is_plugin_class
from nitro_dispatch.policy import Policy
from nitro_dispatch.records import PluginFailure, Registration, Unread
from nitro_dispatch.reports import (
    Text,
    line_of,
    log_failure,
    log_safely,
    origin_of_class,
    printable,
)
from nitro_dispatch.resolver import Plan, Problem, conflicts, resolve

if TYPE_CHECKING:
    from nitro_dispatch.sources.candidate import Candidate
    from nitro_dispatch.sources.descriptions import ClassDescription

__all__ = ["Catalog"]

logger = logging.getLogger(__name__)


def _place_of(candidate: Candidate) -> tuple[object, ...]:
    """Say where a candidate is, in whatever version: a newer one may mend it."""
    origin = candidate.origin
    return (origin.distribution, origin.entry_point, origin.file, origin.line, origin.module)


class Catalog:
    """The registered plugins by name, in the order of their registration.

    Args:
        lock: Guards the registrations.
        policy: Which plugins may be used.
        validate: Whether metadata has to be valid.
        app_version: The application's version, against which `requires_app` is checked.
    """

    def __init__(
        self, lock: Any, policy: Policy, *, validate: bool, app_version: Optional[str]
    ) -> None:
        self.lock = lock
        self.policy = policy
        self._validate = validate
        self._app_version = app_version
        self._registrations: dict[str, Registration] = {}
        self._places = itertools.count()
        self._failures: dict[str, PluginFailure] = {}
        # Those of what sources found, by the place that was at fault and then by their key.
        self._found_broken: dict[tuple[object, ...], dict[str, PluginFailure]] = {}
        self._plan: Optional[Plan] = None
        # Found, but their source does not say under which name they will register.
        self._unread: dict[Candidate, list[Unread]] = {}
        self._file_users = FileUsers(lock)
        self._declaring: dict[Registration, None] = {}

    def __iter__(self) -> Iterator[Registration]:
        with self.lock:
            return iter(list(self._registrations.values()))

    def get(self, name: str) -> Registration:
        """Find a plugin by its name.

        Raises:
            PluginNotFoundError: There is none.
        """
        registration = self.find(name)
        if registration is None:
            raise PluginNotFoundError(
                f"no plugin {shown(name)} is registered: {self._advice(name)}", plugin=str(name)
            )
        return registration

    def _advice(self, name: object) -> str:
        # Imported here because it is needed only where there is a mistake to report.
        from difflib import get_close_matches

        with self.lock:
            near = get_close_matches(str(name), self._registrations, n=1)
        return f"did you mean {near[0]!r}?" if near else "register its class or discover it first"

    def find(self, name: str) -> Optional[Registration]:
        """Find a plugin by its name; None where there is none."""
        try:
            return self._registrations.get(name)
        except TypeError:  # What has no hash is no name.
            return None

    def register(self, plugin_class: Any, *, validate: bool = True) -> Registration:
        """Take in a class that the application registers itself.

        Raises:
            PluginRegistrationError: It is no concrete subclass of PluginBase.
            ValidationError: Its metadata is not valid.
        """
        registration = self.from_class(plugin_class, validate=validate)
        with self.lock:
            known = self._registrations.get(registration.name)
            if known is None:
                self._insert(registration)
                return registration
            replaced = known.metadata.origin
            self._replace(known, registration)
        log_safely(
            logger,
            logging.WARNING,
            "Plugin %s is registered again: %s takes the place of %s from the next load on",
            printable(known.name),
            printable(registration.metadata.origin),
            printable(replaced),
        )
        return known

    def from_class(
        self,
        plugin_class: Any,
        *,
        candidate: Optional[Candidate] = None,
        validate: bool = True,
    ) -> Registration:
        """Make the registration of a class, without keeping it.

        Raises:
            PluginRegistrationError: It is no concrete subclass of PluginBase.
            ValidationError: Its metadata is not valid.
        """
        if not is_plugin_class(plugin_class):
            raise PluginRegistrationError(
                f"{shown(plugin_class)} cannot be registered: "
                "give a concrete subclass of PluginBase"
            )
        origin = origin_of_class(plugin_class) if candidate is None else candidate.origin
        metadata = PluginMetadata.from_values(
            class_values(plugin_class), origin=origin, validate=validate and self._validate
        )
        return self._judged(Registration(metadata, plugin_class, candidate, validate=validate))

    def from_description(self, description: ClassDescription, candidate: Candidate) -> Registration:
        """Make the registration of a class that is only described, without keeping it.

        Raises:
            ValidationError: Its metadata is not valid.
            PluginRegistrationError: It has a hook that is refused, and may be used.
        """
        values = {"name": description.class_name, **description.values}
        origin = candidate.origin
        if origin.file and not origin.distribution:
            origin = Origin(file=description.path, line=description.line)
        metadata = PluginMetadata.from_values(values, origin=origin, validate=self._validate)
        registration = self._judged(Registration(metadata, None, candidate, description))
        if description.faults and not registration.refusal:
            raise PluginRegistrationError(
                f"plugin {registration.name!r} ({origin}) cannot be imported: "
                f"{'; '.join(description.faults)}",
                plugin=registration.name,
                origin=str(origin),
            )
        return registration

    def _judged(self, registration: Registration) -> Registration:
        names = registration.candidate.names if registration.candidate else ()
        registration.refusal = self.policy.refusal(registration.name, *names)
        return registration

    def find_anew(self, candidate: Candidate) -> bool:
        """Forget what was wrong or open with a candidate when it was last found.

        Returns:
            Whether anything was wrong.
        """
        with self.lock:
            self._unread.pop(candidate, None)
            broken = self._found_broken.pop(_place_of(candidate), {})
            for key, failure in broken.items():
                # Another plugin may have failed since under the same name.
                if self._failures.get(key) is failure:
                    del self._failures[key]
        return bool(broken)

    def is_broken(self, candidate: Candidate) -> bool:
        """Tell whether anything is wrong with a candidate as it was last found."""
        return _place_of(candidate) in self._found_broken

    def leave_unread(self, unread: Unread) -> None:
        """Keep in mind what only an import can tell more of."""
        with self.lock:
            self._unread.setdefault(unread.candidate, []).append(unread)

    @property
    def unread(self) -> list[Unread]:
        """What was found and is not registered: only an import can tell what it is."""
        with self.lock:
            found = [each for unread in self._unread.values() for each in unread]
            # Most often there is nothing, which is told without a look at every registration.
            known = self._imported_classes() if found else {}
        return [each for each in found if not each.is_among(known)]

    def _imported_classes(self) -> dict[Candidate, set[str]]:
        """Name the imported classes of what sources found."""
        known: dict[Candidate, set[str]] = {}
        for each in self._registrations.values():
            if each.candidate is not None and each.plugin_class is not None:
                known.setdefault(each.candidate, set()).add(
                    qualified_name_of_class(each.plugin_class)
                )
        return known

    def to_be_imported(self) -> list[Candidate]:
        """List what only an import can tell more of, until `imported` is told that it has."""
        with self.lock:
            candidates = list(dict.fromkeys(each.candidate for each in self.unread))
            # Of the others an import for something else has told all.
            self._unread = {candidate: self._unread[candidate] for candidate in candidates}
        return candidates

    def imported(self, candidate: Candidate) -> None:
        """Hear that an import has told all that it can of a candidate."""
        with self.lock:
            self._unread.pop(candidate, None)

    def discover(self, registration: Registration) -> bool:
        """Take in what was found; a name that is taken is a conflict, and stays as it is.

        Returns:
            Whether the plugin is new.

        Raises:
            PluginRegistrationError: Another plugin has the name.
        """
        with self.lock:
            known = self._registrations.get(registration.name)
            if known is None:
                self._insert(registration)
                return True
            if known.is_same_as(registration):
                self._read_anew(known, registration)
                return False
        raise PluginRegistrationError(
            f"plugin {registration.name!r} of {registration.metadata.origin} is passed over: "
            f"that of {known.metadata.origin} was there before and has the name; remove or rename "
            "one of them",
            plugin=registration.name,
            origin=str(registration.metadata.origin),
        )

    def _read_anew(self, known: Registration, registration: Registration) -> None:
        """Take over what the source says now of a plugin of which nothing was imported yet."""
        described = known.plugin_class is None and registration.plugin_class is None
        if described and known.switch is None and known.owner is None:
            self._replace(known, registration)

    def _replace(self, known: Registration, newer: Registration) -> None:
        known.replace(newer)
        self._keep_module(known)
        self._failures.pop(known.name, None)
        self.changed()

    def _insert(self, registration: Registration) -> None:
        self._keep_module(registration)
        self._make_way(registration.name)
        registration.place = next(self._places)
        self._registrations[registration.name] = registration
        self.changed()

    def _keep_module(self, registration: Registration) -> None:
        """Let the module of a plugin's class stay as long as the plugin is registered."""
        if registration.plugin_class is not None:
            keep_module(registration.plugin_class)
        self._file_users.add(registration)
        self.note_conflicts(registration)

    def note_conflicts(self, registration: Registration) -> None:
        """Keep in mind that a plugin may conflict with one that comes later.

        It stays so when another class is registered: what runs may be of the one before.
        """
        if registration.metadata.conflicts:
            self._declaring[registration] = None

    def _make_way(self, name: str) -> None:
        """Keep under its origin what was wrong with another that has a plugin's name."""
        failure = self._failures.pop(name, None)
        if failure is None:
            return
        self._failures[failure.origin] = failure
        for broken in self._found_broken.values():
            if broken.get(name) is failure:
                broken[failure.origin] = broken.pop(name)

    def remove(self, registration: Registration) -> bool:
        """Forget a plugin, unless it is loaded or armed.

        Returns:
            Whether it is forgotten.
        """
        with self.lock:
            if registration.switch is not None:
                return False
            if self._registrations.get(registration.name) is registration:
                del self._registrations[registration.name]
                self._file_users.remove(registration)
                self._declaring.pop(registration, None)
                self._failures.pop(registration.name, None)
                self.changed()
            return True

    def changed(self) -> None:
        """Hear that a registration or its metadata changed: the plan is made anew."""
        self._plan = None

    def plan(self) -> Plan:
        """Resolve the dependencies of all registered plugins, importing none."""
        with self.lock:
            if self._plan is None:
                self._plan = self.plan_with({})
            return self._plan

    def plan_with(self, others: Mapping[str, Registration]) -> Plan:
        """Resolve the dependencies as they would be with other registrations for some names."""
        with self.lock:
            registrations = [others.get(name, each) for name, each in self._registrations.items()]
        return self._resolve(registrations, [each.in_force for each in registrations])

    def plan_for(self, name: str, loaded: Container[str]) -> Plan:
        """Resolve the dependencies of one plugin, no further than to what is loaded.

        So a load costs what the plugin needs, however many others were registered meanwhile.
        """
        with self.lock:
            reached: dict[Registration, PluginMetadata] = {}
            waiting = [name]
            while waiting:
                registration = self._registrations.get(waiting.pop())
                if registration is None or registration in reached:
                    continue
                metadata = registration.in_force
                if registration.name in loaded:
                    metadata = PluginMetadata(metadata.name, metadata.version)
                reached[registration] = metadata
                waiting += [each.name for each in metadata.dependencies]
                waiting += [each.name for each in metadata.optional_dependencies]
                waiting += [each.name for each in metadata.conflicts]
            coming = {each.name: reached[each] for each in reached if each.name not in loaded}
            running = [each.in_force for each in self._declaring if each.name in loaded]
        problems = conflicts(running, coming)
        registrations = sorted(reached, key=lambda each: each.place)
        return self._resolve(registrations, [reached[each] for each in registrations], problems)

    def _resolve(
        self,
        registrations: Iterable[Registration],
        metadata: Iterable[PluginMetadata],
        problems: Iterable[Problem] = (),
    ) -> Plan:
        return resolve(
            metadata,
            app_version=self._app_version,
            blocked={each.name for each in registrations if each.refusal},
            problems=problems,
        )

    def fail(
        self,
        failure: PluginFailure,
        *,
        key: str = "",
        candidate: Optional[Candidate] = None,
        registration: Optional[Registration] = None,
    ) -> bool:
        """Keep in mind, and log, why a plugin does not work.

        Args:
            failure: What is wrong.
            key: Where to keep it; by default the plugin's name, or its origin.
            candidate: What a source found, where that is broken: until it is found anew.
            registration: The plugin, where it was to be loaded.

        Returns:
            Whether that still concerns anybody: not if another thread has unregistered the plugin
            meanwhile, or has loaded it.
        """
        key = key or failure.name or failure.origin
        with self.lock:
            if registration is not None and (
                registration.instance is not None
                or self.find(registration.name) is not registration
            ):
                return False
            self._failures[key] = failure
            if candidate is not None:
                self._found_broken.setdefault(_place_of(candidate), {})[key] = failure
        found = candidate or self.find(failure.name)
        log_failure(
            logger,
            failure.error,
            "Plugin %(plugin)s (%(origin)s) failed at %(stage)s",
            {
                "plugin": printable(failure.name or "without a name"),
                "origin": printable(failure.origin),
                "stage": failure.stage,
                "location": Text(line_of, failure.error, found.source if found is not None else ""),
            },
        )
        return True

    def failure_of(self, name: str) -> Optional[PluginFailure]:
        """Tell what is wrong with a plugin; None if nothing is known to be."""
        failure = self._failures.get(name)
        # A place that is broken may be called like a plugin: a distribution without a version.
        return failure if failure is not None and failure.name == name else None

    def works(self, name: str) -> None:
        """Forget what was wrong with a plugin."""
        self._failures.pop(name, None)

    def failures(self) -> dict[str, PluginFailure]:
        """List what is wrong, by the plugin's name or its origin."""
        with self.lock:
            return dict(self._failures)
