"""Where the command line writes: results to standard output, all else to standard error."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from nitro_dispatch.cli.errors import printable
from nitro_dispatch.cli.layout import ANY_WIDTH, Part

__all__ = ["Terminal", "results_kept_apart"]

_STYLES: Final = {"error": "bold red", "failed": "bold red", "warning": "bold yellow"}


class Terminal:
    """The two streams, and how much is said.

    Attributes:
        debug: Whether to show the log of the library and the tracebacks.
    """

    def __init__(self) -> None:
        self.debug = False
        self._results = _console(stderr=False)
        self._messages = _console(stderr=True)

    @property
    def encoding(self) -> str:
        """The encoding of standard output."""
        return getattr(sys.stdout, "encoding", None) or "ascii"

    def show(self, parts: Sequence[Part]) -> None:
        """Write what people read to standard output."""
        self.write("".join(map(self._render, parts)))

    def _render(self, part: Part) -> str:
        if isinstance(part, str):
            return f"{part}\n"
        with self._results.capture() as captured:
            self._results.print(part, soft_wrap=isinstance(part, Text))
        return "".join(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1])

    def write(self, text: str) -> None:
        """Write a text to standard output, at once."""
        if sys.stdout is None:
            # It was closed before the program began: nobody wants the text.
            return
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name in a language that the terminal lacks is no reason to fail.
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, kind: str, text: object) -> None:
        """Write a message of one line to standard error.

        Args:
            kind: "error", "failed", "warning" or "note".
            text: The message.
        """
        line = Text.assemble((f"{kind}:", _STYLES.get(kind, "bold")), " ", printable(text))
        self._messages.print(line, soft_wrap=True)

    def fail(self, error: BaseException, text: str) -> None:
        """Write why the command could not be done, and the traceback if it is wanted."""
        if self.debug:
            traceback.print_exception(type(error), error, error.__traceback__)
        self.say("error", text)

    @contextlib.contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """Show what is done while it is done, if somebody looks on."""
        # The log and a debugger's prompt would be written over.
        if self.debug or not self._messages.is_terminal:
            yield
        else:
            with self._messages.status(printable(text)):
                yield

    @contextlib.contextmanager
    def log_of_library(self) -> Iterator[None]:
        """Show the warnings of the library as messages of our own, or its whole log in debugging.

        Failures are no warnings: they are reported where they belong.
        """
        logger = logging.getLogger("nitro_dispatch")
        level, propagate = logger.level, logger.propagate
        handler = logging.StreamHandler() if self.debug else _Warnings(self)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        # A plugin that sets up logging must not have everything said twice.
        logger.propagate = False
        logger.setLevel(logging.DEBUG if self.debug else logging.WARNING)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)


class _Warnings(logging.Handler):
    """Writes the warnings of the library as messages of one line."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._terminal.say("warning", record.getMessage())


@contextlib.contextmanager
def results_kept_apart() -> Iterator[None]:
    """Let what plugins print go to standard error: standard output is for the result alone."""
    if sys.stdout is None or sys.stderr is None:
        # They were closed before the program began: the descriptors may be files by now.
        yield
        return
    sys.stdout.flush()
    # Programs that a plugin starts know only the descriptor, and the plugin only the object.
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _console(*, stderr: bool) -> Console:
    # What plugins say of themselves is shown as it is, whatever brackets and colons it has.
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # A line that nobody reads on a screen is not broken: programs look for whole ones.
        console.width = ANY_WIDTH
    return console
