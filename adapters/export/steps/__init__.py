"""One conversion each; run by adapters.export.child in the environment that has its converter."""
