"""The data of an event, as the command line is given it."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Optional

from nitro_dispatch.cli.errors import CommandError

__all__ = ["read_payload"]


def read_payload(argument: Optional[str], file: Optional[Path]) -> Any:
    """Read the data of an event.

    Args:
        argument: JSON; `@` and the path of a file with JSON; or `-` for standard input.
        file: The file with JSON.

    Returns:
        The data. Without an argument it is read from standard input if that is a pipe or a file,
        and None if there is nothing.

    Raises:
        CommandError: It is given twice, cannot be read, or is not JSON.
    """
    if argument is not None and file is not None:
        raise CommandError("the data is given twice: as an argument and with --file")
    if argument is not None and argument.startswith("@"):
        file = Path(argument[1:])
    if file is not None:
        return _parse(_read_file(file), str(file))
    if argument == "-" or (argument is None and _is_piped()):
        text = sys.stdin.read()
        # Where nobody said that there is something, nothing means no data.
        return _parse(text, "standard input") if argument or text.strip() else None
    return None if argument is None else _parse(argument, repr(argument))


def _parse(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(
            f'{source} is not JSON: {error}; give for example \'{{"username": "Alice"}}\''
        ) from error


def _read_file(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{path} is not UTF-8: {error}") from error


def _is_piped() -> bool:
    """Tell whether standard input is a pipe or a file: another kind may never end."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        # There is none, or one which is no real stream.
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
