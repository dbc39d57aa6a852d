"""How fast a model generates on this machine, and how far that is from what memory allows."""
