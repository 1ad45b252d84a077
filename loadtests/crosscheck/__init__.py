"""The same load by tools that are not ours, beside our own generator: `make crosscheck`."""
