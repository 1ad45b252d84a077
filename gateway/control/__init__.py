"""The control API: what is loaded, and why something is not."""
