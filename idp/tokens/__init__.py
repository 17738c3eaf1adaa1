"""ID tokens, access tokens, refresh families, and what is still true of a token that somebody presents.

A *family* is everything that one authorization gave: its access tokens (whose `jti` names it) and its line of refresh
tokens. Owns: `token_families`, `family_closings`, `ended_tokens`, `pairwise_subjects`, `status_lists`,
`status_count`, `/introspect`. Does not own: ending (that is `logout`, which alone imports `tokens.ending`), people's
claims (handed down by whoever knows them), which grant gives what (`grants`).
"""
