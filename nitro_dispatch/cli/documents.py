"""The JSON documents: what `--json` prints, with the same keys in every release."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final, Optional

from nitro_dispatch import Change, Edge, HookCall, PluginInfo, Problem, TraceStep
from nitro_dispatch.cli.failures import describe
from nitro_dispatch.cli.finding import Findings, is_told
from nitro_dispatch.cli.firing import Fired

__all__ = [
    "event_document",
    "json_text",
    "kind_of_change",
    "list_document",
    "plan_document",
    "plugin_document",
    "why_document",
]

# What a change holds for a value that is not there.
_MISSING: Final = "<missing>"


def list_document(found: Findings) -> dict[str, Any]:
    """Make the document of `list`.

    Returns:
        `plugins`, each as in `plugin_document` without the last three keys; and `failures`, each
        with `plugin`, `stage`, `error`, `origin`, `location`, `event` and `hook`, "" where there is
        none.
    """
    return {
        "plugins": [_plugin(info) for info in found.infos],
        "failures": [asdict(failure) for failure in found.failures],
    }


def plugin_document(
    info: PluginInfo, found: Findings, configuration: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the document of `show`.

    Returns:
        `name`, `version`, `description`, `author`, `dependencies`, `optional_dependencies`,
        `conflicts`, `requires_app`, `requires_python`, each null where the source does not tell it;
        `origin` with `text`, `distribution`, `version`, `entry_point`, `file`, `line` and `module`;
        `state`, `events`, `problems`; `unknown`, each with `field`, `line` and `reason`; `needs`
        and `needed_by`, each with `plugin`, `requires`, `requirement` and `optional`; and
        `configuration`.
    """
    name = info.metadata.name
    return {
        **_plugin(info),
        "needs": [asdict(edge) for edge in found.plan.edges_of(name)],
        "needed_by": [asdict(edge) for edge in found.users_of(name)],
        "configuration": configuration,
    }


def plan_document(found: Findings) -> dict[str, Any]:
    """Make the document of `plan`.

    Returns:
        `order`, each with `plugin` and `after`, the requirements that put it there, as in
        `plugin_document`; `problems`, each with `kind`, `plugin`, `requirement`, `found`, `path`
        and `text`; `blocked`, each with `plugin` and `reason`; and `failures` as in
        `list_document`.
    """
    return {
        "order": [
            {"plugin": name, "after": [asdict(edge) for edge in found.plan.edges_of(name)]}
            for name in found.plan.order
        ],
        "problems": [_problem(each) for each in found.problems],
        "blocked": [
            {"plugin": info.metadata.name, "reason": info.problems[0]} for info in found.blocked
        ],
        "failures": [asdict(failure) for failure in found.failures],
    }


def why_document(plugin: str, requires: str, chain: Iterable[Edge]) -> dict[str, Any]:
    """Make the document of `plan --why`.

    Returns:
        `plugin`, `requires`, and `chain`: the requirements that lead from the one to the other, as
        in `plugin_document`.
    """
    return {"plugin": plugin, "requires": requires, "chain": [asdict(edge) for edge in chain]}


def event_document(event: str, fired: Fired, *, trace: bool) -> dict[str, Any]:
    """Make the document of `trigger`.

    Returns:
        `event`; `result`; `trace`, null where it was not asked for, else each with `plugin`,
        `hook`, `seconds`, `outcome`, `error` and `changes`, null where they are not known, else
        each with `path`, `kind` ("added", "removed" or "changed"), `before` and `after`; and
        `failures` as in `list_document`.
    """
    return {
        "event": event,
        "result": fired.result,
        "trace": [_step(call) for call in fired.steps] if trace else None,
        "failures": [asdict(failure) for failure in fired.failures],
    }


def kind_of_change(change: Change) -> str:
    """Tell whether a place in the data was added, removed or changed."""
    if _is_missing(change.before):
        return "added"
    return "removed" if _is_missing(change.after) else "changed"


def _is_missing(value: object) -> bool:
    # The data may be anything: what it makes of a comparison is not to be relied on.
    return isinstance(value, str) and value == _MISSING


def _plugin(info: PluginInfo) -> dict[str, Any]:
    metadata = info.metadata
    told: dict[str, Any] = {
        "name": metadata.name,
        "version": metadata.version,
        "description": metadata.description,
        "author": metadata.author,
        "dependencies": [str(each) for each in metadata.dependencies],
        "optional_dependencies": [str(each) for each in metadata.optional_dependencies],
        "conflicts": [str(each) for each in metadata.conflicts],
        "requires_app": metadata.requires_app,
        "requires_python": metadata.requires_python,
    }
    return {
        **{field: value if is_told(info, field) else None for field, value in told.items()},
        "origin": {"text": str(metadata.origin), **asdict(metadata.origin)},
        "state": info.state,
        "events": list(info.events),
        "problems": list(info.problems),
        "unknown": [asdict(each) for each in info.unknown],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "plugin": problem.plugin,
        "requirement": problem.requirement,
        "found": problem.found,
        "path": list(problem.path),
        "text": str(problem),
    }


def _step(call: HookCall) -> dict[str, Any]:
    changes = call.changes if isinstance(call, TraceStep) else None
    return {
        "plugin": call.plugin,
        "hook": call.hook,
        "seconds": call.seconds,
        "outcome": call.outcome,
        "error": None if call.error is None else describe(call.error),
        "changes": None if changes is None else [_change(change) for change in changes],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "kind": kind_of_change(change),
        "before": None if _is_missing(change.before) else change.before,
        "after": None if _is_missing(change.after) else change.after,
    }


def json_text(value: object, *, encoding: str = "ascii", indent: Optional[int] = 2) -> str:
    r"""Write anything as JSON; what JSON lacks is written as a text.

    Args:
        value: The data.
        encoding: The encoding of where the text goes. Characters that it lacks, and those that
            cannot be seen, are escaped.
        indent: How many blanks a level is set in; None for a text in one line.

    Returns:
        The text.

    Example:
        >>> json_text({1: {"a"}, "mean": float("nan"), "next": [None]}, indent=None)
        '{"1": "{\'a\'}", "mean": "nan", "next": [null]}'
    """
    plain = _plain(value)
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    with contextlib.suppress(UnicodeEncodeError):
        text.encode(encoding)
        if text.replace("\n", "").isprintable():
            return text
    return json.dumps(plain, indent=indent)


def _plain(value: object, above: tuple[int, ...] = ()) -> object:
    """Make the data of what JSON has; `above` are the identities of the containers around them."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _text(value)
    if id(value) in above:
        return "<circular>"
    if isinstance(value, (Mapping, list, tuple)):
        inside = (*above, id(value))
        if isinstance(value, Mapping):
            return {_text(key): _plain(each, inside) for key, each in value.items()}
        return [_plain(each, inside) for each in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        # The data may be of any class, also one whose text cannot be read.
        return f"<{type(value).__name__}>"
