"""A manager as simple as can be, to compare the real one with: one thread, nothing cached.

It does in plain code what the documentation says in words. It reads no file, but is told what there
is to be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from model_hooks import FAULTS, Imitation
from model_life import (
    Attempt,
    Class,
    ModelOfLife,
    Registration,
    end,
    load_error,
    metadata_of,
    needs_in,
    raise_fault,
)
from nitro_dispatch import DependencyError


class Incomplete(BaseException):
    """Something has come to need a plugin that is reloaded: it has to go along."""


class Model(ModelOfLife):
    """What a manager does, in one thread.

    Args:
        disk: The classes by name that each file would give if it were read now; none if broken.
    """

    def __init__(self, disk: Mapping[str, Mapping[str, Class]]) -> None:
        super().__init__()
        self._disk = disk
        self._imported: dict[str, Mapping[str, Class]] = {}

    # -- registering

    def register(self, plugin_class: Class) -> str:
        known = self._registered.setdefault(plugin_class.name, Registration(plugin_class))
        if known.plugin_class is not plugin_class:
            known.plugin_class = plugin_class
            self.failures.pop(known.name, None)
        self._tell_of("registered", plugin_class)
        return known.name

    def discover_plugins(self, folder: object) -> list[str]:
        found: list[str] = []
        for file in self._disk:
            classes = self._imported.setdefault(file, self._disk[file])
            for name, plugin_class in classes.items():
                if name not in self._registered:
                    self.register(plugin_class)
            found += classes
        return found

    def unregister(self, name: str) -> None:
        registration, fault = self._find(name), None
        if registration.instance is None:
            self._forget(registration)
        else:
            fault = self._unload(registration, forget=True)
        for file, classes in list(self._imported.items()):
            if self._registered.keys().isdisjoint(classes):
                del self._imported[file]
        raise_fault(fault)

    # -- reloading

    def reload(self, name: str) -> Imitation:
        registration = self._registered.get(name)
        if registration is None or registration.instance is None:
            return self.load(name)
        group = self._going_along(registration)
        try:
            with self._busy(group):
                old = {each: each.instance for each in group if each.instance is not None}
                new = self._replace(old)
                for plugin in reversed(list(old.values())):
                    end(plugin)
        except Incomplete:
            return self.reload(name)
        for plugin in new:
            self.notify("unloaded", plugin_name=plugin.name)
        for plugin in new:
            self._tell_of("loaded", plugin)
        return next(plugin for plugin in new if plugin.name == name)

    def _going_along(self, registration: Registration) -> list[Registration]:
        """List what is loaded from one file, and what needs any of it, each after its needs."""
        names, before = {registration.name}, set[str]()
        while names != before:
            before = set(names)
            for classes in self._imported.values():
                names |= set() if names.isdisjoint(classes) else self._loaded.keys() & classes
            for each in before:
                names |= {user.name for user in self._users(self._loaded[each])}
        group = {each.name: each for each in self._loaded.values() if each.name in names}
        ordered: dict[str, Registration] = {}

        def add(registration: Registration) -> None:
            for need in registration.metadata.dependencies:
                if need.name in group and need.name not in ordered:
                    add(group[need.name])
            ordered.setdefault(registration.name, registration)

        for registration in group.values():
            add(registration)
        return list(ordered.values())

    def _replace(self, old: dict[Registration, Imitation]) -> list[Imitation]:
        before = {each: each.plugin_class for each in old}
        try:
            after = {each: self._read_again(each.plugin_class) for each in old}
            order = self._in_order(old, after)
            new = self._made_anew(old, {each: Attempt(after[each]) for each in order})
        except FAULTS as error:
            raise load_error(error) from error
        for each, plugin in old.items():
            self.exchange(plugin, new[each])
            each.instance = new[each]
            # A class that was registered meanwhile is for the next load.
            if each.plugin_class is before[each]:
                each.plugin_class = after[each]
        for file, classes in self._disk.items():
            if not classes.keys().isdisjoint(each.name for each in old):
                self._imported[file] = classes
        return [new[each] for each in old]

    def _in_order(
        self, group: Iterable[Registration], after: Mapping[Registration, Class]
    ) -> list[Registration]:
        plan = self.plan({each.name: metadata_of(after[each].spec) for each in group})
        if any(plan.problems_of(each.name) for each in group):
            raise DependencyError
        order = sorted(group, key=lambda each: plan.order.index(each.name))
        for each in order:
            for name in needs_in(plan, each.name):
                self.load(name)
        self._check_complete(group)
        return order

    def _check_complete(self, group: Iterable[Registration]) -> None:
        if {user for each in group for user in self._users(each)} - set(group):
            raise Incomplete

    def _made_anew(
        self, old: dict[Registration, Imitation], attempts: dict[Registration, Attempt]
    ) -> dict[Registration, Imitation]:
        new: dict[Registration, Imitation] = {}
        outer, self._coming = self._coming, {}
        try:
            for each, attempt in attempts.items():
                new[each] = self._coming[each.name] = attempt.run()
                self._hand_over(old[each], new[each])
            self._coming = outer
            self._check_complete(old)
            for each, plugin in new.items():
                before = {need.name for need in each.metadata.dependencies}
                needs = {need.name for need in metadata_of(plugin.spec).dependencies}
                self._check_needs(needs - before)
            return new
        except (*FAULTS, Incomplete):
            self._coming = outer
            for attempt in reversed(list(attempts.values())):
                attempt.undo()
            raise

    def _hand_over(self, old: Imitation, new: Imitation) -> None:
        coming, self._coming = self._coming, {}
        try:
            state = old.dump_state()
        finally:
            self._coming = coming
        new.restore_state(state)

    def _read_again(self, plugin_class: Class) -> Class:
        for file, classes in self._imported.items():
            if plugin_class.name in classes:
                if not self._disk[file]:
                    raise ImportError
                return self._disk[file][plugin_class.name]
        return plugin_class
