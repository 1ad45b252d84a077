"""Exports as jobs: converted by adapters.export, and published into the version's folder as a whole."""
