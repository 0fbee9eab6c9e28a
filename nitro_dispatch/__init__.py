"""Plugins for any application: found, ordered, loaded, and called by events."""
