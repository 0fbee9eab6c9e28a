"""The options that all commands have, and what they make of the settings."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Callable, Final, Optional, get_type_hints

import typer

from nitro_dispatch.cli.errors import CommandError, did_you_mean
from nitro_dispatch.cli.settings import FILE, TABLE, Settings, find_settings, read_settings

__all__ = ["FLAG", "Options", "takes_options"]

# What a flag is shown to take: of its own accord typer shows "--json <bool>".
FLAG: Final = ""

_WHERE: Final = "Where to look"
_WHICH: Final = "Which plugins, and how they are set up"

# What may not be an empty text, which comes of a variable of the shell that is not set.
_NEVER_EMPTY: Final = {
    "allow": "the name of a plugin",
    "block": "the name of a plugin",
    "app_version": "a version such as 1.4",
}


@dataclass(frozen=True)
class Options:
    """The options that all commands have; one that is not given is None or empty.

    Args:
        directory: The folders to search.
        pattern: What the names of plugin files match.
        recursive: Whether to search the folders in those folders too.
        group: The group in which distributions declare their entry points.
        entry_points: Whether to look among installed distributions.
        allow: The names of the only plugins that may be used.
        block: The names of plugins that may not be used.
        app_version: The application's version.
        set_values: Values of the configuration, each `PLUGIN.KEY=JSON`.
        settings: The file with the settings.
        as_json: Whether to print JSON.
    """

    directory: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="PATH", help="A folder with plugins; may be repeated.", rich_help_panel=_WHERE
        ),
    ] = None
    pattern: Annotated[
        Optional[str],
        typer.Option(
            metavar="GLOB",
            help=f"What the files' names match: '{Settings.pattern}' by default.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    recursive: Annotated[
        Optional[bool],
        typer.Option(
            "--recursive/--no-recursive",
            metavar=FLAG,
            help="Whether to search the folders in the folders too.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    group: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help=f"The group of the entry points: '{Settings.group}' by default.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    entry_points: Annotated[
        Optional[bool],
        typer.Option(
            "--entry-points/--no-entry-points",
            metavar=FLAG,
            help="Whether to look among the installed distributions.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    allow: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME", help="Use no plugin but this; may be repeated.", rich_help_panel=_WHICH
        ),
    ] = None
    block: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME", help="Do not use this plugin; may be repeated.", rich_help_panel=_WHICH
        ),
    ] = None
    app_version: Annotated[
        Optional[str],
        typer.Option(
            metavar="VERSION",
            help="The application's version, for plugins that require one.",
            rich_help_panel=_WHICH,
        ),
    ] = None
    set_values: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set",
            metavar="PLUGIN.KEY=JSON",
            help="Configure a plugin, as in --set audit.max_rows=100; may be repeated.",
            rich_help_panel=_WHICH,
        ),
    ] = None
    settings: Annotated[
        Optional[Path],
        typer.Option(
            metavar="PATH",
            help=f"Where the table {TABLE} stands with the settings, over which options win: "
            f"by default the nearest {FILE} that has one.",
            rich_help_panel=_WHICH,
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="Print JSON, and nothing else.")
    ] = False

    def over_settings(self) -> Settings:
        """Read the settings, and lay the options over them.

        Returns:
            What is to be done.

        Raises:
            CommandError: The settings or an option cannot be used.
        """
        found = read_settings(self.settings) if self.settings else find_settings(Path.cwd())
        given: dict[str, Any] = {
            "directories": tuple(self.directory or ()),
            "pattern": self.pattern,
            "recursive": self.recursive,
            "group": self.group,
            "entry_points": self.entry_points,
            "allow": tuple(self.allow or ()),
            "block": tuple(self.block or ()),
            "app_version": self.app_version,
            "config": with_values(found.config, self.set_values or ()),
        }
        _check_not_empty(given)
        # An empty text is given too, and an error later: only what was not given is left out.
        settings = replace(
            found, **{key: value for key, value in given.items() if value not in (None, ())}
        )
        if self.group and settings.entry_points:
            _check_group(self.group)
        return settings


def _check_not_empty(given: Mapping[str, Any]) -> None:
    for name, expected in _NEVER_EMPTY.items():
        value = given[name]
        if "" in (value if isinstance(value, tuple) else (value,)):
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} '' is empty: give {expected}, or leave {option} out")


def _check_group(group: str) -> None:
    """Refuse a group that no distribution has: its plugins would seem to be all right."""
    # Imported here because it is slow to import, and only needed for a group that is given.
    if sys.version_info >= (3, 12):
        from importlib.metadata import entry_points
    else:
        from importlib_metadata import entry_points

    try:
        groups = entry_points().groups
    except Exception:
        # A distribution may be broken in any way, of which the search for plugins will tell.
        return
    if group not in groups:
        raise CommandError(
            f"--group {group!r}: no installed distribution has entry points in that group"
            f"{did_you_mean(group, groups)}"
        )


def with_values(
    config: Mapping[str, Mapping[str, Any]], assignments: Iterable[str]
) -> Mapping[str, Mapping[str, Any]]:
    """Lay single values over a configuration.

    Args:
        config: A section for each plugin.
        assignments: The values, each `PLUGIN.KEY=JSON`; what follows the last dot is the key.

    Returns:
        The configuration with the values.

    Raises:
        CommandError: One is not of that form.

    Example:
        >>> with_values({"audit": {"path": "a.db"}}, ["audit.max_rows=5", "acme.geo.on=true"])
        {'audit': {'path': 'a.db', 'max_rows': 5}, 'acme.geo': {'on': True}}
    """
    merged = dict(config)
    for assignment in assignments:
        place, equals, text = assignment.partition("=")
        plugin, _, key = place.rpartition(".")
        if not (equals and plugin and key):
            raise CommandError(
                f"--set {assignment} names no plugin and key: write for example "
                "--set audit.max_rows=100"
            )
        try:
            value = json.loads(text)
        except ValueError as error:
            raise CommandError(
                f"--set {assignment}: {text} is not JSON ({error}); a text stands in double "
                f"quotes, as in --set '{place}=\"{text}\"'"
            ) from error
        merged[plugin] = {**merged.get(plugin, {}), key: value}
    return merged


def takes_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all have.

    Args:
        command: A function whose first parameter takes the context and whose second the `Options`;
            the others are its own arguments and options.

    Returns:
        A function with all parameters one by one, as typer reads them.
    """
    context, _, *own = inspect.signature(command).parameters.values()
    names = [each.name for each in fields(Options)]

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        options = Options(**{name: values.pop(name) for name in names})
        return command(values.pop(context.name), options, **values)

    # Read from a class: of a function Python 3.9 hides an annotation whose default is None.
    declared = type("Declared", (), {"__annotations__": command.__annotations__})
    hints = get_type_hints(declared, command.__globals__, include_extras=True)
    shared = get_type_hints(Options, include_extras=True)
    parameters = [each.replace(annotation=hints[each.name]) for each in (context, *own)]
    parameters += [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=shared[each.name],
        )
        for each in fields(Options)
    ]
    # Of the function itself typer would read the annotations as texts.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
