"""Other people's engines, measured beside ours where they are installed."""
