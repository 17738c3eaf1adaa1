"""`/authorize`: one stored request is the state, and this room alone decides the next step.

Signing in, choosing an account and consenting are steps that come back here; none of them routes to another. Owns:
`authorization_requests`, `/authorize`. Does not own: the pages of those steps (`accounts`, `consent`), codes (`grants`).
"""
