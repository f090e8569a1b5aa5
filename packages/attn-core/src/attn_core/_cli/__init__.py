"""The `attn` command. It chooses a backend before anything here imports Keras."""
