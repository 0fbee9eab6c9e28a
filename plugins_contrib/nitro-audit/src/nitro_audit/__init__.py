"""A plugin for nitro_dispatch that keeps a journal of events in SQLite."""

from nitro_audit.database import JournalError
from nitro_audit.journal import Entry, Journal
from nitro_audit.options import default_path
from nitro_audit.plugin import AuditPlugin

__all__ = ["AuditPlugin", "Entry", "Journal", "JournalError", "default_path"]
