"""A checkpoint's bytes from one of several sources, and whether they are the right bytes."""
