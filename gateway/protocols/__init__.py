"""Bytes to requests and answers to bytes, for each protocol; no web framework here."""
