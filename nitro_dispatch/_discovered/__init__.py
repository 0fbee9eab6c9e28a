"""The name space of plugins from folders: their modules live here, so that they shadow nothing."""

__all__: list[str] = []
