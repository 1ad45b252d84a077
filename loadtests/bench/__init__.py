"""Torii beside a plain server, in one run: `make bench`."""
