"""Delivery to devices: a signed repository of bundles, and channels that say who gets which."""
