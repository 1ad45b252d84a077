"""Measuring what a scenario asks for: stretches of load, rounds in turns, searches, incidents."""
