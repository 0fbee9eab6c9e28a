"""Plugins for any application: found, ordered, loaded, and called by events."""

from __future__ import annotations

import logging

from nitro_dispatch.chain import HookResult
from nitro_dispatch.events import Event
from nitro_dispatch.exceptions import (
    DependencyError,
    HookError,
    HookTimeoutError,
    NitroPluginError,
    PluginDiscoveryError,
    PluginLoadError,
    PluginNotFoundError,
    PluginRegistrationError,
    StopPropagation,
    ValidationError,
)
from nitro_dispatch.hooks import HookImpl, hook
from nitro_dispatch.manager import PluginManager
from nitro_dispatch.metadata import Origin, PluginMetadata, Requirement
from nitro_dispatch.plugin import PluginBase
from nitro_dispatch.records import PluginFailure, PluginInfo, ReloadResult
from nitro_dispatch.registry import HookRegistry
from nitro_dispatch.resolver import Edge, Plan, Problem
from nitro_dispatch.tracing import Change, HookCall, Trace, TraceStep
from nitro_dispatch.version import __version__

__all__ = [
    "Change",
    "DependencyError",
    "Edge",
    "Event",
    "HookCall",
    "HookError",
    "HookImpl",
    "HookRegistry",
    "HookResult",
    "HookTimeoutError",
    "NitroPluginError",
    "Origin",
    "Plan",
    "PluginBase",
    "PluginDiscoveryError",
    "PluginFailure",
    "PluginInfo",
    "PluginLoadError",
    "PluginManager",
    "PluginMetadata",
    "PluginNotFoundError",
    "PluginRegistrationError",
    "Problem",
    "ReloadResult",
    "Requirement",
    "StopPropagation",
    "Trace",
    "TraceStep",
    "ValidationError",
    "__version__",
    "hook",
]

# An application that does not configure logging hears nothing, as is the custom of libraries.
logging.getLogger(__name__).addHandler(logging.NullHandler())
