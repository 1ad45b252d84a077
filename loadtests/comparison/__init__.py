"""`compare`: which of two results, or of two rows of one, is faster, by how much, and how sure that is."""
