"""Loading: all or nothing, each plugin after what it needs, and one failure stops no other."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Final, NoReturn, Optional

from nitro_dispatch.attempts import Attempt
from nitro_dispatch.ending import log_faults
from nitro_dispatch.events import PLUGIN_ERROR, PLUGIN_LOADED
from nitro_dispatch.exceptions import (
    DependencyError,
    NitroPluginError,
    PluginLoadError,
    describe_error,
    error_text,
    name_of_class,
)
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.lazy import ArmedPlugin, can_be_armed, stubs
from nitro_dispatch.lifecycle import Lifecycle
from nitro_dispatch.loader import Imports
from nitro_dispatch.plugin import PluginBase, Switch, is_off
from nitro_dispatch.records import PluginFailure, Registration
from nitro_dispatch.reports import log_safely, printable
from nitro_dispatch.resolver import Plan, Problem, leads_to, needs_of

__all__ = ["Loading", "load_error"]

logger = logging.getLogger(__name__)

# So many times a load is begun, where others load anew what the plugin needs.
_TRIES: Final = 8


class _OfThread(threading.local):
    """What this thread has loaded since a `load_all` of it began; None outside of one."""

    log: Optional[dict[str, None]] = None


class Loading:
    """Loads plugins in the order of the plan, or arms them to be loaded later.

    Args:
        lifecycle: Where plugins are brought to life.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.catalog = lifecycle.catalog
        self._of_thread = _OfThread()

    def load(self, name: str, armed: Optional[Switch] = None) -> PluginBase:
        """Load a plugin and what it needs, dependencies first.

        Args:
            name: The plugin's name.
            armed: The owner of the hook that asks for it, without which it is not to be loaded.

        Raises:
            PluginNotFoundError: No plugin has the name.
            DependencyError: Something that it needs is not to be had.
            PluginLoadError: Anything else went wrong.
        """
        registration = self.catalog.get(name)
        plugin = self.lifecycle.visible(name)
        if plugin is not None:
            return plugin
        plan = self.catalog.plan_for(name, self.lifecycle.loaded)
        self._check(plan, registration)
        with Imports() as imports:
            walk = _Walk(self, plan, imports)
            if armed is not None:
                # What an event needs is tried once: by an earlier hook of it perhaps.
                walk.failed.update(filter(self.catalog.failure_of, plan.order))
            try:
                return walk.load(registration, armed)
            finally:
                self._fail_dependents(walk.failed)

    def load_all(self, *, lazy: bool = False) -> list[str]:
        """Load every plugin that can be loaded.

        Args:
            lazy: Whether to arm what can be armed.

        Returns:
            The names of those loaded or armed now, in their order.
        """
        outer = self._of_thread.log
        # A dict keeps the order, and a plugin once that was armed and then loaded for another.
        log = self._of_thread.log = {}
        try:
            plan = self.catalog.plan()
            # That a plugin is blocked is no failure: somebody wanted it.
            rejected = [each.plugin for each in plan.problems if each.kind != "blocked"]
            for name in dict.fromkeys(rejected):
                with contextlib.suppress(NitroPluginError):
                    self._check(plan, self.catalog.get(name))
            with Imports() as imports:
                self._load_or_arm(_Walk(self, plan, imports), lazy=lazy)
        finally:
            self._of_thread.log = outer
        if outer is not None:
            outer.update(log)
        return list(log)

    def _load_or_arm(self, walk: _Walk, *, lazy: bool) -> None:
        """Load or arm everything that stands in the order of a plan."""
        held = self._held_up(walk.plan)
        for name in walk.plan.order:
            try:
                registration = self.catalog.get(name)
                if name in held or registration.switch is not None:
                    continue
                if lazy and can_be_armed(registration):
                    self._arm(registration)
                else:
                    walk.load(registration)
            except NitroPluginError:  # It is logged, and in `failures`.
                continue
        self._fail_dependents(walk.failed)

    def _held_up(self, plan: Plan) -> set[str]:
        """Name what this thread is loading already, where its code asks for more, and its users."""
        held = {each.name for each in self.lifecycle.turns.mine(self.catalog)}
        if held:
            for name in plan.order:
                if not held.isdisjoint(needs_of(plan, name)):
                    held.add(name)
        return held

    def _check(self, plan: Plan, registration: Registration) -> None:
        """Refuse a plugin that the plan has no place for.

        Raises:
            DependencyError: It has problems.
        """
        problems = plan.problems_of(registration.name)
        if problems and self.lifecycle.visible(registration.name) is None:
            # The plan knows only that a plugin is blocked, and not by which entry of which list.
            texts = [registration.refusal] if registration.refusal else problems
            reason = DependencyError(problems=texts)
            self.fail(registration, "resolve", reason, problem=problems[0])

    def fail(
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
        self.lifecycle.disarm(registration)
        # It may have been armed by a `load_all` that is still at it.
        self.log.pop(name, None)
        failure = PluginFailure(name, origin, stage, reason, problem, because, culprit)
        if self.catalog.fail(failure, registration=registration):
            text, kind = error_text(reason), name_of_class(type(reason))
            self.lifecycle.notify(PLUGIN_ERROR, {"plugin_name": name, "error": text, "type": kind})
        raise load_error(registration, reason) from reason

    def fail_because_of(self, registration: Registration, needed: str) -> NoReturn:
        """Let a plugin fail because something failed that it needs."""
        because = self.catalog.failure_of(needed)
        reason = DependencyError(problems=[_NotLoaded(needed, because)])
        self.fail(registration, "resolve", reason, because=because)

    def _fail_dependents(self, failed: set[str]) -> None:
        """Let what is armed fail because of what failed, which is so not tried once more for it."""
        waiting = sorted(failed)
        for name in waiting:
            registration = self.catalog.find(name)
            # Another thread may have had more luck meanwhile.
            if registration is None or self.lifecycle.visible(name) is not None:
                continue
            for user in self.lifecycle.dependents.of(registration):
                if user.armed is not None:
                    waiting.append(user.name)
                    with contextlib.suppress(NitroPluginError):
                        self.fail_because_of(user, name)

    @property
    def log(self) -> dict[str, None]:
        """What this thread has loaded since a `load_all` of it began."""
        log = self._of_thread.log
        return {} if log is None else log

    def _arm(self, registration: Registration) -> None:
        """Put hooks in place that load the plugin when one of them is first called."""
        # What was wrong at the last attempt may be mended: the first event will tell.
        self.catalog.works(registration.name)
        armed = ArmedPlugin(registration.name)
        hooks = stubs(registration, armed, wake=self._wake, real=self._real, load=self.load)
        if self.lifecycle.arm(registration, armed, hooks):
            self.log[registration.name] = None

    def _wake(self, stub: HookImpl) -> None:
        """Load the plugin of a hook that is only described; where it fails that is on record."""
        with contextlib.suppress(NitroPluginError):
            self.load(stub.plugin_name, stub.plugin)

    def _real(self, stub: HookImpl) -> Optional[HookImpl]:
        """Find the hook that one stood for, if it is to be called."""
        plugin = self.lifecycle.visible(stub.plugin_name)
        if plugin is None or is_off(plugin):
            return None
        hooks = self.lifecycle.registry.hooks_of(plugin)
        return next((hook for hook in hooks if hook.order == stub.order), None)


class _Walk:
    """One walk of one thread through a plan.

    Args:
        loading: What to do with failures.
        plan: What needs what.
        imports: Notes what this thread imports.
    """

    def __init__(self, loading: Loading, plan: Plan, imports: Imports) -> None:
        self.plan = plan
        self.failed: set[str] = set()
        self._loading = loading
        self._lifecycle = loading.lifecycle
        self._catalog = loading.catalog
        self._imports = imports

    def load(self, registration: Registration, armed: Optional[Switch] = None) -> PluginBase:
        """Load a plugin after what it needs; what has failed already is not tried again.

        Raises:
            PluginLoadError: It failed, or one of its dependencies did.
        """
        try:
            if self._lifecycle.lacking(leads_to(self.plan, registration.name)) is not None:
                self._load_before(registration)
            return self._load_one(registration, armed)
        except PluginLoadError:
            self.failed.add(registration.name)
            raise

    def _load_before(self, registration: Registration) -> None:
        """Load what a plugin needs or uses.

        Raises:
            DependencyError: Something that it needs could not be loaded.
        """
        for name in self._still_to_load(registration.name):
            # Its own failure is on record; whether it matters here shows at the edge to it.
            with contextlib.suppress(NitroPluginError):
                self.load(self._catalog.get(name))
        lacking = self._lifecycle.lacking(needs_of(self.plan, registration.name))
        if lacking is not None:
            self._loading.fail_because_of(registration, lacking)

    def _still_to_load(self, name: str) -> Iterator[str]:
        """List what a plugin needs and is not loaded, each after what it needs itself."""
        entered = {name}
        path = [(name, iter(leads_to(self.plan, name)))]
        while path:
            current, following = path[-1]
            for needed in following:
                known = needed in entered or needed in self.failed
                if not known and self._lifecycle.visible(needed) is None:
                    entered.add(needed)
                    path.append((needed, iter(leads_to(self.plan, needed))))
                    break
            else:
                path.pop()
                if current != name:
                    yield current

    def _load_one(self, registration: Registration, armed: Optional[Switch]) -> PluginBase:
        """Load a plugin whose dependencies are there, or wait for the thread that does it.

        Raises:
            DependencyError: That thread had no luck, or unloaded it.
            PluginLoadError: It failed.
        """
        turns = self._lifecycle.turns
        turns.take(registration)
        try:
            if registration.instance is not None:
                return registration.instance
            if armed is not None and registration.armed is not armed:
                raise DependencyError(f"{registration.name!r} failed meanwhile, or was unloaded")
            attempt, reason = self._try_until_up_to_date(registration)
        finally:
            turns.give_back(registration)
        if reason is not None:
            self._loading.fail(registration, attempt.stage, reason)
        if logger.isEnabledFor(logging.INFO):
            log_safely(logger, logging.INFO, "Loaded plugin %s", printable(registration.name))
        self._loading.log[registration.name] = None
        self._lifecycle.announce(PLUGIN_LOADED, attempt.metadata)
        assert attempt.plugin is not None, "an attempt without a reason to fail has a plugin"
        return attempt.plugin

    def _try_until_up_to_date(
        self, registration: Registration
    ) -> tuple[Attempt, Optional[BaseException]]:
        """Try to bring a plugin to life, again where what it needs was loaded anew.

        Returns:
            The last attempt, and why it failed.
        """
        for _ in range(_TRIES):
            attempt = self._lifecycle.attempts.begin(registration)
            reason = self._try(attempt)
            if reason is None or not attempt.outdated_by:
                break
            # What was loaded anew may be of a version that will not do.
            plan = self._catalog.plan_for(registration.name, self._lifecycle.loaded)
            problems = plan.problems_of(registration.name)
            if problems:
                attempt.stage, reason = "resolve", DependencyError(problems=problems)
                break
        return attempt, reason

    def _try(self, attempt: Attempt) -> Optional[BaseException]:
        """Bring a plugin to life, or leave nothing of it.

        Returns:
            Why it failed.
        """
        self._imports.names.clear()
        try:
            self._lifecycle.bring_to_life(attempt)
            self._lifecycle.commit(attempt)
        except BaseException as error:
            try:
                self._clean_up(attempt)
            finally:
                # Last, for an `on_unload` may import something as well.
                self._imports.take_back()
            if isinstance(error, (Exception, SystemExit)):
                return error
            raise
        finally:
            self._lifecycle.attempts.end(attempt)
        self._imports.settle()
        return None

    def _clean_up(self, attempt: Attempt) -> None:
        """Leave nothing of a plugin that could not be loaded."""
        attempt.registration.coming = None
        # What is begun once more is then still armed, and off if it was switched off.
        if not attempt.outdated_by:
            self._lifecycle.disarm(attempt.registration)
        if attempt.registration.description is not None:
            attempt.registration.plugin_class = None
        log_faults([(attempt.registration, self._lifecycle.abort(attempt))])


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


def load_error(
    registration: Registration, reason: BaseException, method: str = ""
) -> PluginLoadError:
    """Wrap the reason for which a plugin could not be loaded, keeping its kind.

    Args:
        registration: The plugin.
        reason: What was raised.
        method: The method of the plugin that raised it, where loading as such went well.
    """
    name, origin = registration.name, str(registration.metadata.origin)
    # `isinstance` would ask the reason for its class, which may be code of the plugin.
    if type(reason) is DependencyError and not method:
        return DependencyError(problems=reason.problems, plugin=name, origin=origin, cause=reason)
    return PluginLoadError(plugin=name, origin=origin, hook=method, cause=reason)
