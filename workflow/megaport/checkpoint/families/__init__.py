"""One small module a family of checkpoints: what it recognises and how it reads it."""
