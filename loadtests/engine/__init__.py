"""The generator: a process of its own that sends requests when they are due, and says every slice of time what came."""
