"""What is known of each plugin, without importing one."""

from __future__ import annotations

from typing import Any, Callable

from nitro_dispatch.catalog import Catalog
from nitro_dispatch.exceptions import describe_error
from nitro_dispatch.hooks import HookImpl, declared_hooks
from nitro_dispatch.metadata import PluginMetadata
from nitro_dispatch.plugin import is_enabled
from nitro_dispatch.policy import Policy
from nitro_dispatch.records import PluginInfo, Registration, Unread
from nitro_dispatch.resolver import Plan
from nitro_dispatch.sources.descriptions import ClassDescription, Unknown

__all__ = ["describe"]

HooksOf = Callable[[Any], list[HookImpl]]


def describe(catalog: Catalog, hooks_of: HooksOf) -> list[PluginInfo]:
    """Tell what is known of each plugin, importing none.

    Args:
        catalog: The registered plugins, and what could not be read.
        hooks_of: Lists the hooks of an owner.

    Returns:
        One record for each, in the order of registration.
    """
    plan = catalog.plan()
    known = [_of_registered(each, catalog, plan, hooks_of) for each in catalog]
    return known + [_of_unread(each, catalog.policy) for each in catalog.unread]


def _of_registered(
    registration: Registration, catalog: Catalog, plan: Plan, hooks_of: HooksOf
) -> PluginInfo:
    name, failure = registration.name, catalog.failure_of(registration.name)
    problems = [registration.refusal] if registration.refusal else []
    problems += [str(each) for each in plan.problems_of(name) if each.kind != "blocked"]
    if failure is not None and failure.problem is None:
        problems.append(f"{failure.stage}: {describe_error(failure.error)}")
    return PluginInfo(
        registration.in_force,
        _state_of(registration, problems),
        _events_of(registration, hooks_of),
        tuple(problems),
        registration.description.unknown if registration.description else (),
    )


def _state_of(registration: Registration, problems: list[str]) -> str:
    if registration.switch is not None:
        try:
            if not is_enabled(registration.switch):
                return "disabled"
        except (Exception, SystemExit) as error:
            problems.append(f"enabled: {describe_error(error)}")
            return "failed"
        return "loaded" if registration.instance is not None else "armed"
    if registration.refusal:
        return "blocked"
    return "failed" if problems else "registered"


def _events_of(registration: Registration, hooks_of: HooksOf) -> tuple[str, ...]:
    if registration.switch is not None:
        events = [hook.event for hook in hooks_of(registration.switch)]
    elif registration.plugin_class is not None:
        events = [event for event, _ in declared_hooks(registration.plugin_class)]
    elif registration.description is not None:
        return _described_events(registration.description)
    else:
        events = []
    return tuple(dict.fromkeys(events))


def _of_unread(unread: Unread, policy: Policy) -> PluginInfo:
    """Tell what is known of something nevertheless."""
    description, origin = unread.description, unread.candidate.origin
    if description is None:
        metadata = PluginMetadata("", origin=origin)
        unknown = (Unknown("class", 0, unread.reason),)
        if unread.is_missing and not policy.refusal(*unread.candidate.names):
            return PluginInfo(metadata, "failed", (), (unread.reason,), unknown)
        return PluginInfo(metadata, "unknown", unknown=unknown)
    metadata = PluginMetadata.from_values(
        {"name": "", **description.values}, origin=origin, validate=False
    )
    events = _described_events(description)
    return PluginInfo(metadata, "unknown", events, unknown=description.unknown)


def _described_events(description: ClassDescription) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event for hook in description.hooks for event in hook.events))
