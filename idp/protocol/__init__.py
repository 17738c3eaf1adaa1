"""The specs' own words: parameters, URIs, PKCE, scopes, claims.

Standard library only, no I/O: anything may import this, and it imports nothing of `idp`.
"""
