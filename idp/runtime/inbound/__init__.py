"""What comes in: the server's protocol, the documents that are ready, waiting for events, threads, who the peer is."""
