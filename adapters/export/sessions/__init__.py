"""How each format is run to be measured: `describe()` and `load(path, names)`, where its runtime is."""
