"""Which deployment of a version should serve it here: measured on the same inputs, and judged."""
