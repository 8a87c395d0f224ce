"""The truth of one gateway: append-only segments."""
