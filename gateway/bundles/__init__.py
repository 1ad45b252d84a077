"""Bundles: one archive with all that a device needs of a model, which proves itself by the digests in it."""
