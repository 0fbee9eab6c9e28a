"""Tells how often a user has logged in before, from the journal that the plugin "audit" keeps.

That plugin is in a distribution of its own: `pip install ./plugins_contrib/nitro-audit`.
"""

from __future__ import annotations

from typing import Any

from nitro_dispatch import PluginBase, hook


class VisitsPlugin(PluginBase):
    name = "visits"
    version = "1.0.0"
    description = "Tells how often a user has logged in before."
    author = "The Nitro Dispatch authors"
    dependencies = ["audit>=1,<2"]

    def on_load(self) -> None:
        audit: Any = self.get_plugin("audit")
        self.journal = audit.journal

    # "audit" writes its entry after all other hooks, so the login under way is not counted.
    @hook("user.login")
    def count(self, data: dict[str, Any]) -> dict[str, Any]:
        logins = [entry.data for entry in self.journal.tail(None, event="user.login")]
        users = [login.get("username") for login in logins if isinstance(login, dict)]
        return {**data, "earlier_logins": users.count(data["username"])}
