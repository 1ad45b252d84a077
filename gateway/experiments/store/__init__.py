"""Keeps what was seen in experiments, in SQLite or PostgreSQL, so that a restart loses a second of it at most."""
