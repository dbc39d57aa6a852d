"""Other people's engines, measured beside ours where they are installed."""

PEERS = {"llamacpp": "megaport.benchmark.peers.llamacpp:LlamaCppEngine"}
