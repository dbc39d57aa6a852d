"""Proof that the converted model is the checkpoint's, sharing nothing with the converter."""
