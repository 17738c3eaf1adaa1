"""Arena: a small shared game over a websocket that closes the moment its session at the provider ends."""
