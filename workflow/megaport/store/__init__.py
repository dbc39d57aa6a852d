"""The content store and the action cache; design and laws in docs/how-it-works/caching.md."""
