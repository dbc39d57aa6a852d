"""Ways of running one GPT-2: the same interface, one small file each."""
