"""A process of its own for each deployment of a local runtime: unload is exit, a crash is contained."""
