"""Loading: all or nothing, each plugin after what it needs, and one failure stops no other."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from itertools import chain
from typing import NoReturn, Optional

from nitro_dispatch.events import PLUGIN_ERROR, PLUGIN_LOADED
from nitro_dispatch.exceptions import (
    DependencyError,
    NitroPluginError,
    PluginLoadError,
    describe_error,
)
from nitro_dispatch.failures import printable
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.lazy import ArmedPlugin, can_be_armed, stubs
from nitro_dispatch.lifecycle import Attempt, Lifecycle
from nitro_dispatch.loader import imports_undone_on_error
from nitro_dispatch.plugin import PluginBase
from nitro_dispatch.records import PluginFailure, Registration
from nitro_dispatch.resolver import Plan, Problem

__all__ = ["Loading", "load_error"]

logger = logging.getLogger(__name__)


class Loading:
    """Loads plugins in the order of the plan, or arms them to be loaded later.

    Args:
        lifecycle: Where plugins are brought to life.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._catalog = lifecycle.catalog
        # What this thread has loaded since a `load_all` of it began.
        self._of_thread = threading.local()

    def load(self, name: str) -> PluginBase:
        """Load a plugin and what it needs, dependencies first.

        Raises:
            PluginNotFoundError: No plugin has the name.
            DependencyError: Something that it needs is not to be had.
            PluginLoadError: Anything else went wrong.
        """
        registration = self._catalog.get(name)
        plugin = self._lifecycle.visible(name)
        if plugin is not None:
            return plugin
        plan = self._catalog.plan_for(name, self._lifecycle.loaded)
        self._check(plan, registration)
        failed: set[str] = set()
        try:
            return self._load_with_needs(plan, registration, failed)
        finally:
            self._fail_dependents(failed)

    def load_all(self, *, lazy: bool = False) -> list[str]:
        """Load every plugin that can be loaded.

        Args:
            lazy: Whether to arm what can be armed.

        Returns:
            The names of those loaded or armed now, in their order.
        """
        outer = getattr(self._of_thread, "log", None)
        # A dict keeps the order, and a plugin once that was armed and then loaded for another.
        log: dict[str, None] = {}
        self._of_thread.log = log
        try:
            plan = self._catalog.plan()
            failed: set[str] = set()
            # That a plugin is blocked is no failure: somebody wanted it.
            rejected = [each.plugin for each in plan.problems if each.kind != "blocked"]
            isolated = contextlib.suppress(NitroPluginError)  # It is logged, and in the catalog.
            for name in dict.fromkeys(rejected):
                with isolated:
                    self._check(plan, self._catalog.get(name))
            held = self._held_up(plan)
            for name in plan.order:
                if name not in held:
                    with isolated:
                        self._load_or_arm(plan, self._catalog.get(name), failed, lazy=lazy)
            self._fail_dependents(failed)
        finally:
            self._of_thread.log = outer
        if outer is not None:
            outer.update(log)
        return list(log)

    def _held_up(self, plan: Plan) -> set[str]:
        """Name what this thread is loading already, where its code asks for more, and its users."""
        held = {each.name for each in self._lifecycle.turns.mine(self._catalog)}
        if held:
            for name in plan.order:
                if not held.isdisjoint(need.name for need in plan._needed_by(name)):
                    held.add(name)
        return held

    def _check(self, plan: Plan, registration: Registration) -> None:
        """Refuse a plugin that the plan has no place for.

        Raises:
            DependencyError: It has problems.
        """
        problems = plan.problems_of(registration.name)
        if problems and self._lifecycle.visible(registration.name) is None:
            # The plan knows only that a plugin is blocked, and not by which entry of which list.
            texts = [registration.refusal] if registration.refusal else problems
            reason = DependencyError(problems=texts)
            self._fail(registration, "resolve", reason, problem=problems[0])

    def _load_or_arm(
        self, plan: Plan, registration: Registration, failed: set[str], *, lazy: bool
    ) -> None:
        if registration.switch is not None:
            return
        if lazy and can_be_armed(registration):
            self._arm(registration)
        else:
            self._load_with_needs(plan, registration, failed)

    def _load_with_needs(
        self, plan: Plan, registration: Registration, failed: set[str]
    ) -> PluginBase:
        """Load a plugin after what it needs; what has failed already is not tried again."""
        if self._lacking(plan, registration.name) is not None:
            for name in self._still_to_load(plan, registration.name, failed):
                # Its own failure is on record; whether it matters here shows at the edge to it.
                with contextlib.suppress(NitroPluginError):
                    self._load_next(plan, self._catalog.get(name), failed)
        return self._load_next(plan, registration, failed)

    def _lacking(self, plan: Plan, name: str) -> Optional[str]:
        """Name what is not loaded of that which a plugin needs or uses."""
        lacking = self._lifecycle.lacking
        return lacking(plan._needed_by(name)) or lacking(plan._used_by(name))

    def _still_to_load(self, plan: Plan, name: str, failed: set[str]) -> Iterator[str]:
        """List what a plugin needs and is not loaded, each after what it needs itself."""
        entered = {name}
        path = [(name, chain(plan._needed_by(name), plan._used_by(name)))]
        while path:
            current, needs = path[-1]
            for need in needs:
                needed = need.name
                known = needed in entered or needed in failed
                if not known and self._lifecycle.visible(needed) is None:
                    entered.add(needed)
                    path.append((needed, chain(plan._needed_by(needed), plan._used_by(needed))))
                    break
            else:
                path.pop()
                if current != name:
                    yield current

    def _load_next(self, plan: Plan, registration: Registration, failed: set[str]) -> PluginBase:
        """Load a plugin whose dependencies had their turn.

        Raises:
            PluginLoadError: It failed, or one of its dependencies did.
        """
        try:
            needed = self._lifecycle.lacking(plan._needed_by(registration.name))
            if needed is not None:
                self._fail_because_of(registration, needed)
            return self._load_one(registration)
        except PluginLoadError:
            failed.add(registration.name)
            raise

    def _load_one(self, registration: Registration) -> PluginBase:
        """Load a plugin whose dependencies are there, or wait for the thread that does it."""
        with self._lifecycle.turns.taken(registration):
            if registration.instance is not None:
                return registration.instance
            attempt = Attempt(registration)
            reason = self._try(attempt)
        if reason is not None:
            self._fail(registration, attempt.stage, reason)
        assert attempt.plugin is not None, "an attempt without a reason to fail has a plugin"
        self._catalog.works(registration.name)
        if logger.isEnabledFor(logging.INFO):
            logger.info("Loaded plugin %s", printable(registration.name))
        self._log[registration.name] = None
        self._lifecycle.announce(PLUGIN_LOADED, registration)
        return attempt.plugin

    def _try(self, attempt: Attempt) -> Optional[BaseException]:
        """Bring a plugin to life, or leave nothing of it.

        Returns:
            Why it failed.
        """
        try:
            with imports_undone_on_error(final=True):
                self._lifecycle.bring_to_life(attempt)
                self._lifecycle.commit(attempt)
        except BaseException as error:
            self._clean_up(attempt)
            if isinstance(error, (Exception, SystemExit)):
                return error
            raise
        return None

    def _clean_up(self, attempt: Attempt) -> None:
        """Leave nothing of a plugin that could not be loaded."""
        attempt.registration.coming = None
        self._lifecycle.disarm(attempt.registration)
        if attempt.registration.description is not None:
            attempt.registration.plugin_class = None
        if attempt.is_alive and attempt.plugin is not None:
            fault = self._lifecycle.end(attempt.plugin)
            self._lifecycle.log_fault(attempt.registration, fault)
        else:
            self._lifecycle.discard(attempt.plugin)

    def _fail(
        self,
        registration: Registration,
        stage: str,
        reason: BaseException,
        *,
        problem: Optional[Problem] = None,
        because: Optional[PluginFailure] = None,
    ) -> NoReturn:
        """Keep a failure in mind, tell the listeners, and raise it."""
        name, origin = registration.name, str(registration.metadata.origin)
        culprit = because and (because.culprit or because)
        self._lifecycle.disarm(registration)
        # It may have been armed by a `load_all` that is still at it.
        self._log.pop(name, None)
        # One that was unregistered meanwhile concerns nobody but who wanted it loaded.
        if self._catalog.find(name) is registration:
            failure = PluginFailure(name, origin, stage, reason, problem, because, culprit)
            self._catalog.fail(failure)
            text, kind = describe_error(reason), type(reason).__name__
            self._lifecycle.notify(PLUGIN_ERROR, {"plugin_name": name, "error": text, "type": kind})
        raise load_error(registration, reason) from reason

    def _fail_because_of(self, registration: Registration, needed: str) -> NoReturn:
        because = self._catalog.failure_of(needed)
        reason = DependencyError(problems=[_NotLoaded(needed, because)])
        self._fail(registration, "resolve", reason, because=because)

    def _fail_dependents(self, failed: set[str]) -> None:
        """Let what is armed fail because of what failed, which is so not tried once more for it."""
        waiting = sorted(failed)
        for name in waiting:
            registration = self._catalog.find(name)
            # Another thread may have had more luck meanwhile.
            if registration is None or self._lifecycle.visible(name) is not None:
                continue
            for user in self._lifecycle.dependents.of(registration):
                if user.armed is not None:
                    waiting.append(user.name)
                    with contextlib.suppress(NitroPluginError):
                        self._fail_because_of(user, name)

    @property
    def _log(self) -> dict[str, None]:
        log: Optional[dict[str, None]] = getattr(self._of_thread, "log", None)
        return {} if log is None else log

    def _arm(self, registration: Registration) -> None:
        """Put hooks in place that load the plugin when one of them is first called."""
        # What was wrong at the last attempt may be mended: the first event will tell.
        self._catalog.works(registration.name)
        armed = ArmedPlugin(registration.name)
        hooks = stubs(registration, armed, wake=self._wake, load=self.load)
        self._lifecycle.arm(registration, armed, hooks)
        self._log[registration.name] = None

    def _wake(self, stub: HookImpl) -> Optional[HookImpl]:
        """Load the plugin of a hook that is only described.

        Returns:
            The real hook, or None where the plugin could not be loaded.
        """
        try:
            plugin = self.load(stub.plugin_name)
        except NitroPluginError:
            return None
        hooks = self._lifecycle.registry.hooks_of(plugin)
        return next((hook for hook in hooks if hook.order == stub.order), None)


class _NotLoaded(Frozen):
    """That something which a plugin needs failed; its text is made late, for it may be long."""

    name: str
    failure: Optional[PluginFailure]

    def __str__(self) -> str:
        text = f"it needs {self.name!r}, which could not be loaded"
        if self.failure is None:
            return text
        culprit = self.failure.culprit or self.failure
        whose = f" because of {culprit.name!r}" if culprit is not self.failure else ""
        return f"{text}{whose}: {describe_error(culprit.error)}"


def load_error(registration: Registration, reason: BaseException) -> PluginLoadError:
    """Wrap the reason for which a plugin could not be loaded, keeping its kind."""
    name, origin = registration.name, str(registration.metadata.origin)
    if isinstance(reason, DependencyError):
        return DependencyError(problems=reason.problems, plugin=name, origin=origin, cause=reason)
    return PluginLoadError(plugin=name, origin=origin, cause=reason)
