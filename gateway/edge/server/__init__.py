"""What devices ask: signed metadata and models, which version is theirs, and where they say how it went."""
