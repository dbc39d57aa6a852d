"""The configuration: one pydantic model behind config.yaml and its JSON schema."""
