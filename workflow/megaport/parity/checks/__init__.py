"""One check a file; each says what it saw, what it allows and why."""
