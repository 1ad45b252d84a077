"""Pictures as inline SVG, written on the server: each has a text, and the page has its numbers as a table."""
