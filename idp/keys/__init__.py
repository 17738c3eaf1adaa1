"""Signing keys: their schedule by the clock, their sealing, signing with them, and the JWKS that publishes them.

Nobody flips a state here: what signs and what is published follows from a key's instants and the time (`rules.py`), so
any number of instances agree without talking. Owns: `signing_keys`, `/jwks`. Does not own: what a token says (`tokens`,
`logout`), what follows from a revoked key (`logout`).
"""
