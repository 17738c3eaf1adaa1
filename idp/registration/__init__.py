"""Clients that register themselves (RFC 7591, RFC 7592): `/register`, initial access tokens, and what one network may do."""
