"""The configuration: what config.yaml may say, and how it is checked."""
