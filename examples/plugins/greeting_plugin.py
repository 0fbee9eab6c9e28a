"""Greets users when they log in."""

from __future__ import annotations

from typing import Any

from nitro_dispatch import PluginBase, hook


class GreetingPlugin(PluginBase):
    name = "greeting"
    version = "1.0.0"
    description = "Greets users when they log in."
    author = "The Nitro Dispatch authors"

    # Where the plugin "visits" is loaded too, its hook has run before this one.
    @hook("user.login", after="visits")
    def greet(self, data: dict[str, Any]) -> dict[str, Any]:
        word = "Welcome back" if data.get("earlier_logins") else "Welcome"
        return {**data, "greeting": f"{word}, {data['username']}!"}
