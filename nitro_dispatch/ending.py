"""What plugins raise as they end: raised again for who asked for the end, or logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Optional

from nitro_dispatch.exceptions import NitroPluginError
from nitro_dispatch.records import Registration
from nitro_dispatch.reports import Text, line_of, log_failure, printable

__all__ = ["log_faults", "raise_fault"]

logger = logging.getLogger(__name__)


def log_faults(faults: Iterable[tuple[Registration, Optional[BaseException]]]) -> None:
    """Log what each `on_unload` raised, if it did.

    Args:
        faults: The plugins, each with what was raised; None for nothing.

    Raises:
        BaseException: One was no failure, but an interrupt such as KeyboardInterrupt.
    """
    interrupt: Optional[BaseException] = None
    for registration, fault in faults:
        if fault is None:
            continue
        log_failure(
            logger,
            fault,
            "on_unload of plugin %(plugin)s (%(origin)s) failed",
            {
                "plugin": printable(registration.name),
                "origin": printable(registration.metadata.origin),
                "location": Text(line_of, fault, registration.source),
            },
        )
        if not isinstance(fault, (Exception, SystemExit)):
            interrupt = interrupt or fault
    if interrupt is not None:
        raise interrupt


def raise_fault(registration: Registration, fault: Optional[BaseException]) -> None:
    """Raise what an `on_unload` raised, if it did.

    Args:
        registration: The plugin.
        fault: What was raised; None for nothing.

    Raises:
        NitroPluginError: It was SystemExit.
        BaseException: Whatever else it was.
    """
    # `isinstance` would ask the fault for its class, which may be code of the plugin.
    if issubclass(type(fault), SystemExit):
        name = registration.name
        raise NitroPluginError(
            f"on_unload of plugin {name!r} raised SystemExit", plugin=name
        ) from fault
    if fault is not None:
        raise fault
