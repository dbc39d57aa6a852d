"""Signing the assembled model with a key pair, by Sigstore's model-signing."""
