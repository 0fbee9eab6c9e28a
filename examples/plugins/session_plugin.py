"""Counts what each user does between login and logout."""

from __future__ import annotations

from typing import Any

from nitro_dispatch import PluginBase, hook


class SessionPlugin(PluginBase):
    name = "session"
    version = "1.0.0"
    description = "Counts what each user does between login and logout."
    author = "The Nitro Dispatch authors"

    def on_load(self) -> None:
        self.actions: dict[str, int] = {}

    # The second parameter is called `event`, so the hook is also given the event's name. The
    # priority is lower than the usual 50, so that the hook runs after most others.
    @hook("user.*", priority=10)
    def follow(self, data: dict[str, Any], event: str) -> dict[str, Any]:
        user = data["username"]
        if event == "user.login":
            self.actions[user] = 0
        else:
            self.actions[user] = self.actions.get(user, 0) + 1
        session = {"event": event, "actions": self.actions[user]}
        if event == "user.logout":
            del self.actions[user]
        return {**data, "session": session}
