"""Conducts experiments: what is asked of them by name, what comes in of them, and what follows from it."""
