"""The inference API over HTTP."""
