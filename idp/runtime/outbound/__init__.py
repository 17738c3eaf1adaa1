"""What goes out: the one guarded HTTP client, the names that it resolves, and the addresses that it may contact."""
