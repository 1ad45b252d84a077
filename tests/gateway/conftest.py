"""What the tests of the gateway share."""

from __future__ import annotations

from hypothesis import settings

# The machines that run this are shared: how long one example took says nothing.
settings.register_profile("torii", deadline=None, max_examples=60)
settings.load_profile("torii")
