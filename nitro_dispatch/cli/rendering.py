"""What people see: what was found, planned and done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.highlighter import JSONHighlighter
from rich.text import Text

from nitro_dispatch import Change, Edge, HookCall, Origin, PluginInfo, TraceStep
from nitro_dispatch.cli.documents import json_text, kind_of_change
from nitro_dispatch.cli.errors import printable
from nitro_dispatch.cli.failures import describe
from nitro_dispatch.cli.finding import Findings, is_told
from nitro_dispatch.cli.layout import (
    Part,
    Parts,
    duration,
    facts,
    section,
    short_paths,
    state,
    table,
)

__all__ = [
    "chain_view",
    "list_view",
    "plan_view",
    "plugin_view",
    "result_view",
    "trace_view",
]

_LONGEST_IN_COLOUR: Final = 100_000


def list_view(found: Findings) -> list[Part]:
    """Show all plugins in a table, and beneath it what else there is to know."""
    rows = [
        (
            _told(info, "name", info.metadata.name),
            _told(info, "version", info.metadata.version),
            state(info.state),
            _origin(info.metadata.origin),
            _events(info),
            _needs(info),
        )
        for info in found.infos
    ]
    columns = ("name", "version", "state", "from", "events", "needs")
    return [*table(columns, rows), *_remarks(found), *_summary(found)]


def plan_view(found: Findings) -> list[Part]:
    """Show the order in which plugins load and why, and what keeps others from it."""
    rows = []
    for place, name in enumerate(found.plan.order, 1):
        info = found.plugins[name]
        version = _told(info, "version", info.metadata.version)
        follows = Parts([_requirement(edge) for edge in found.plan.edges_of(name)])
        rows.append((str(place), printable(name), version, follows, _origin(info.metadata.origin)))
    columns = ("", "name", "version", "must follow", "from")
    return [*table(columns, rows), *_remarks(found), *_summary(found)]


def plugin_view(
    info: PluginInfo, found: Findings, configuration: Mapping[str, object]
) -> list[Part]:
    """Show everything that is known of one plugin."""
    metadata, name = info.metadata, info.metadata.name
    values = [f"{key} = {_json_line(value)}" for key, value in configuration.items()]
    labelled = (
        ("version", _told(info, "version", metadata.version)),
        ("state", state(info.state)),
        ("description", _told(info, "description", " ".join(metadata.description.split()))),
        ("author", _told(info, "author", metadata.author)),
        ("from", _full_origin(metadata.origin)),
        ("events", ", ".join(_events(info).parts)),
        ("needs", _told(info, "dependencies", *metadata.dependencies)),
        ("uses if there", _told(info, "optional_dependencies", *metadata.optional_dependencies)),
        ("conflicts with", _told(info, "conflicts", *metadata.conflicts)),
        ("application", _told(info, "requires_app", metadata.requires_app)),
        ("Python", _told(info, "requires_python", metadata.requires_python)),
        ("loads after", _lines(_requirement(edge) for edge in found.plan.edges_of(name))),
        ("needed by", _lines(map(_user, found.users_of(name)))),
        ("configuration", _lines(values)),
        ("problems", _lines(info.problems)),
        ("not known", _lines(map(" ".join, _unknown(info)))),
    )
    return [Text(printable(name), style="bold cyan"), facts(labelled)]


def chain_view(chain: Sequence[Edge]) -> list[Part]:
    """Show why one plugin needs another, a line for each requirement on the way."""
    return [Text(printable(edge)) for edge in chain]


def trace_view(steps: Sequence[HookCall]) -> list[Part]:
    """Show which hooks were called, how long each took, and what it changed."""
    rows = [
        (
            printable(call.plugin),
            printable(call.hook),
            duration(call.seconds),
            state(call.outcome),
            _lines(_effects(call)),
        )
        for call in steps
    ]
    return table(("plugin", "hook", "took", "outcome", "changes"), rows)


def result_view(result: object, encoding: str) -> list[Part]:
    """Show the result of an event as JSON."""
    text = json_text(result, encoding=encoding)
    # To colour a long one would take longer than anything else.
    return [JSONHighlighter()(text) if len(text) <= _LONGEST_IN_COLOUR else text]


def _lines(values: Iterable[object]) -> str:
    return "\n".join(map(printable, values))


def _told(info: PluginInfo, field: str, *values: object) -> str:
    """Show what a plugin says about itself, or that its source does not tell."""
    return ", ".join(map(printable, values)) if is_told(info, field) else "?"


def _unknown(info: PluginInfo) -> Iterator[tuple[str, str, str]]:
    """Show what the source does not tell: what it is, where, and why."""
    for each in info.unknown:
        yield each.field, f"line {each.line}" if each.line else "", _sentence(each.reason)


def _label(info: PluginInfo) -> str:
    """Name a plugin, one without a name by where it comes from."""
    return printable(info.metadata.name) or _full_origin(info.metadata.origin)


def _sentence(text: str) -> str:
    return printable(short_paths(text))


def _events(info: PluginInfo) -> Parts:
    """Show the events, and whether there may be more."""
    more = any(each.field in ("hooks", "bases", "class") for each in info.unknown)
    return Parts([*map(printable, info.events), *(["?"] if more else [])])


def _needs(info: PluginInfo) -> Parts:
    """Show what a plugin needs, in brackets what it uses if it is there, and whether it is all."""
    metadata = info.metadata
    needs = [printable(each) for each in metadata.dependencies]
    needs += [f"[{printable(each)}]" for each in metadata.optional_dependencies]
    is_all = is_told(info, "dependencies") and is_told(info, "optional_dependencies")
    return Parts(needs if is_all else [*needs, "?"])


def _requirement(edge: Edge) -> str:
    return printable(f"{edge.requirement} (optional)" if edge.optional else edge.requirement)


def _user(edge: Edge) -> str:
    return f"{edge.plugin} ({'uses' if edge.optional else 'needs'} {edge.requirement})"


def _origin(origin: Origin) -> Parts:
    """Show where a plugin comes from, as short as it is clear."""
    if origin.distribution:
        return Parts([printable(origin.distribution), printable(origin.version)], " ")
    folder, name = os.path.split(_full_origin(origin))
    return Parts([os.path.join(folder, ""), name] if folder else [name], "")


def _full_origin(origin: Origin) -> str:
    return _sentence(str(origin))


def _effects(call: HookCall) -> Iterator[str]:
    """Say what a hook did to the data, or why it did not."""
    if call.error is not None:
        yield describe(call.error)
    # Of another call nobody wanted to know the changes: to mark them as unknown would not help.
    if isinstance(call, TraceStep):
        yield from ["?"] if call.changes is None else map(_change, call.changes)


def _change(change: Change) -> str:
    kind = kind_of_change(change)
    before, after = map(_json_line, (change.before, change.after))
    place = f"{change.path}: " if change.path else ""
    if kind == "added":
        return f"+ {place}{after}"
    return f"- {place}{before}" if kind == "removed" else f"{place}{before} -> {after}"


def _json_line(value: object) -> str:
    return json_text(value, encoding="utf-8", indent=None)


def _remarks(found: Findings) -> Iterator[Part]:
    """List what cannot be used and why, and what is not known."""
    usable = [info for info in found.infos if info.state != "blocked"]
    problems = [(_label(info), printable(each)) for info in usable for each in info.problems]
    blocked = [(_label(info), printable(info.problems[0])) for info in found.blocked]
    broken = [
        (_sentence(each.origin), _sentence(f"{each.stage}: {each.error}")) for each in found.broken
    ]
    conflicts = [(_sentence(each.error),) for each in found.conflicts]
    unknown = [(_label(info), *cells) for info in found.infos for cells in _unknown(info)]
    yield from section("Problems", "bold red", problems)
    yield from section("Broken", "bold red", broken)
    yield from section("Passed over", "bold yellow", conflicts)
    yield from section("Blocked", "bold yellow", blocked)
    yield from section("Not known without importing", "bold", unknown)


def _summary(found: Findings) -> Iterator[Part]:
    """Count what was found."""
    states = Counter(info.state for info in found.infos)
    counts = [f"{count} {name}" for name, count in states.items()]
    counts += [f"{len(found.broken)} broken"] if found.broken else []
    counts += [f"{len(found.conflicts)} passed over"] if found.conflicts else []
    if counts:
        yield Text(", ".join(counts), style="dim")
