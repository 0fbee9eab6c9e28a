"""Runs a command: what it reports is written, what goes wrong is one line and an exit code."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any, Callable, Final

import typer

from nitro_dispatch import NitroPluginError, __version__
from nitro_dispatch.cli.commands import Report, list_plugins, plan, show, trigger
from nitro_dispatch.cli.documents import json_text
from nitro_dispatch.cli.errors import CommandError
from nitro_dispatch.cli.failures import describe
from nitro_dispatch.cli.options import FLAG, takes_options
from nitro_dispatch.cli.terminal import Terminal

__all__ = ["run"]

# What a shell says of a program that was interrupted, or that wrote into a pipe without a reader.
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141

_EXIT_CODES: Final = (
    "Exit codes: 0 all is well, for list and show whatever they find; 1 for plan, plugins have "
    "problems, for trigger, something failed; 2 the command could not be done; "
    "130 it was interrupted."
)

_application: Final = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nitro-dispatch {__version__}")
        raise typer.Exit


def _as_help(command: Callable[..., Report]) -> str:
    """Make the help of a docstring: each paragraph a line, which typer breaks where it fits."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


_DEBUG: Final[Any] = typer.Option(
    False, "--debug", metavar=FLAG, help="Show the log, and the traceback of an error."
)
_VERSION: Final[Any] = typer.Option(
    False,
    "--version",
    metavar=FLAG,
    callback=_show_version,
    is_eager=True,
    help="Show the version.",
)


@_application.callback()
def _prepare(context: typer.Context, debug: bool = _DEBUG, version: bool = _VERSION) -> None:
    """Find plugins, plan the order in which they load, and fire events."""
    terminal: Terminal = context.obj
    terminal.debug = debug
    context.with_resource(terminal.log_of_library())


for _name, _command in (
    ("list", list_plugins),
    ("show", show),
    ("plan", plan),
    ("trigger", trigger),
):
    _application.command(_name, help=_as_help(_command))(takes_options(_command))


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name.

    Returns:
        The exit code.
    """
    terminal = Terminal()
    try:
        return _invoke(terminal, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes the stream once more at its end, which must have a reader then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        terminal.fail(error, _explain(error))
        return 2


def _invoke(terminal: Terminal, arguments: Sequence[str]) -> int:
    command = typer.main.get_command(_application)
    report = command.main(
        list(arguments), prog_name="nitro-dispatch", standalone_mode=False, obj=terminal
    )
    if not isinstance(report, Report):
        # Only the help was asked for, or the command was interrupted.
        return int(report or 0)
    if report.as_json:
        terminal.write(f"{json_text(report.document)}\n")
    else:
        terminal.show(report.view)
    return report.code


def _explain(error: Exception) -> str:
    """Say in one line why the command could not be done."""
    # The classes of the errors of usage are elsewhere in each release of typer.
    format_message = getattr(error, "format_message", None)
    if getattr(error, "option_name", "") == "--why":
        return "--why takes two names, A and B (--help tells more)"
    if format_message is not None:
        return f"{format_message()} (--help tells more)"
    if isinstance(error, (CommandError, NitroPluginError, TypeError, ValueError, OSError)):
        return str(error)
    return f"unexpected {describe(error)} (--debug tells where)"
