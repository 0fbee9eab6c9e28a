"""The commands: each finds plugins, does one thing, and reports.

The docstring of a command is its help, and its parameters are its arguments and options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from nitro_dispatch import PluginManager
from nitro_dispatch.cli.documents import (
    event_document,
    list_document,
    plan_document,
    plugin_document,
    why_document,
)
from nitro_dispatch.cli.errors import did_you_mean
from nitro_dispatch.cli.failures import Places
from nitro_dispatch.cli.finding import Findings, find_plugins, idle_entries
from nitro_dispatch.cli.firing import fire
from nitro_dispatch.cli.layout import Part, short_paths
from nitro_dispatch.cli.options import FLAG, Options
from nitro_dispatch.cli.payload import read_payload
from nitro_dispatch.cli.rendering import (
    chain_view,
    list_view,
    plan_view,
    plugin_view,
    result_view,
    trace_view,
)
from nitro_dispatch.cli.settings import Settings
from nitro_dispatch.cli.terminal import Terminal, results_kept_apart

__all__ = ["Report", "list_plugins", "plan", "show", "trigger"]


_Data = Annotated[
    Optional[str],
    typer.Argument(
        metavar="JSON",
        help="The data: JSON, @PATH for a file, or - for standard input, from which it is also "
        "taken if something is piped in.",
        show_default=False,
    ),
]
_File = Annotated[Optional[Path], typer.Option(metavar="PATH", help="The file with the data.")]
_Trace = Annotated[
    bool,
    typer.Option(
        "--trace",
        metavar=FLAG,
        help="Tell what each hook changed (not with --async) and how long it took.",
    ),
]
_Asynchronous = Annotated[
    bool, typer.Option("--async", metavar=FLAG, help="Run async hooks too, in an event loop.")
]


@dataclass(frozen=True)
class Report:
    """What a command has to say.

    Args:
        document: For programs.
        view: For people.
        as_json: Whether a program asks.
        code: The exit code.
    """

    document: Mapping[str, Any]
    view: Sequence[Part]
    as_json: bool
    code: int = 0


def list_plugins(context: typer.Context, options: Options) -> Report:
    """List the plugins that are found, importing none of them.

    Beneath the table stands what keeps plugins from being used, what is broken or passed over, and
    what is not known of a plugin until it is imported.
    """
    found = _look(context.obj, options.over_settings())
    return Report(list_document(found), list_view(found), options.as_json)


def show(
    context: typer.Context,
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name.")],
) -> Report:
    """Show everything that is known of one plugin, importing none."""
    settings = options.over_settings()
    found = _look(context.obj, settings)
    info = found.get(name)
    configuration = settings.config.get(name, {})
    return Report(
        plugin_document(info, found, configuration),
        plugin_view(info, found, configuration),
        options.as_json,
    )


def plan(
    context: typer.Context,
    options: Options,
    why: Annotated[
        Optional[tuple[str, str]],
        typer.Option(metavar="A B", help="Tell instead by which requirements A needs B."),
    ] = None,
) -> Report:
    """Show in which order the plugins load and why, importing none of them.

    The exit code is 1 where something keeps a plugin from being loaded, blocked ones not counted;
    with --why, where A does not need B.
    """
    found = _look(context.obj, options.over_settings())
    if why is not None:
        return _why(context.obj, found, *why, as_json=options.as_json)
    code = 0 if found.is_sound else 1
    return Report(plan_document(found), plan_view(found), options.as_json, code)


def trigger(
    context: typer.Context,
    options: Options,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event, such as user.login.")],
    data: _Data = None,
    *,
    file: _File = None,
    trace: _Trace = False,
    asynchronous: _Asynchronous = False,
) -> Report:
    """Load the plugins, fire one event, and print the resulting data as JSON.

    What JSON lacks is printed as a text. What plugins print goes to standard error. The exit code
    is 1 where a plugin or a hook failed; the result is printed all the same.
    """
    terminal: Terminal = context.obj
    settings = options.over_settings()
    payload = read_payload(data, file)
    with results_kept_apart(), Places.heard() as places:
        manager = _find(terminal, settings, lazy=False)
        # From here on the terminal is the plugins': they may ask the user something.
        fired = fire(manager, event, payload, places, trace=trace, asynchronous=asynchronous)
    for failure in fired.failures:
        terminal.say("failed", short_paths(str(failure)))
    if not fired.steps:
        advice = did_you_mean(event, fired.events)
        if event in fired.events and not asynchronous:
            advice = ": its hooks are async, give --async to run them"
        terminal.say("note", f"no hook was called for {event!r}{advice}")
    view = [
        *(trace_view(fired.steps) if trace else ()),
        *result_view(fired.result, terminal.encoding),
    ]
    code = 1 if fired.failures else 0
    return Report(event_document(event, fired, trace=trace), view, options.as_json, code)


def _find(terminal: Terminal, settings: Settings, *, lazy: bool) -> PluginManager:
    """Find the plugins, and warn of settings that fit none of them."""
    manager = find_plugins(settings, terminal.progress, lazy=lazy)
    for text in idle_entries(manager, settings):
        terminal.say("warning", text)
    names = manager.get_registered_plugins()
    for name in settings.config:
        if name not in names:
            advice = did_you_mean(name, names)
            terminal.say(
                "warning", f"there is a configuration for {name!r}, but no such plugin{advice}"
            )
    return manager


def _look(terminal: Terminal, settings: Settings) -> Findings:
    """Find the plugins without importing any."""
    found = Findings.of(_find(terminal, settings, lazy=True))
    if not (found.plugins or found.failures):
        terminal.say("note", f"no plugins are found: {_places(settings)}")
    return found


def _places(settings: Settings) -> str:
    """Tell where plugins were looked for."""
    places = [f"in the group {settings.group!r} of entry points"] if settings.entry_points else []
    places += [f"in {short_paths(directory)}" for directory in settings.directories]
    return f"there are none {' and '.join(places)}" if places else "give a --directory to look in"


def _why(
    terminal: Terminal, found: Findings, plugin: str, requires: str, *, as_json: bool
) -> Report:
    found.get(plugin)
    chain = found.plan.why(plugin, requires)
    if not chain:
        # One that others need may be missing, but a name that nobody knows is a mistake.
        found.get(requires)
        terminal.say("note", f"{plugin} does not need {requires}")
    document = why_document(plugin, requires, chain)
    return Report(document, chain_view(chain), as_json, 0 if chain else 1)
