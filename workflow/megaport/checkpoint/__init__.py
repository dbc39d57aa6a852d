"""Reads Megatron checkpoints of every era without torch, and without executing anything in them."""
