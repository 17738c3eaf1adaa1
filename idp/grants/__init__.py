"""`/token`: what a client may exchange for tokens, one file for each grant type, on Authlib's server.

Owns: `authorization_codes`, and the server's table of grants. Does not own: tokens (`tokens`), the request that leads
to a code (`authorization`), ending what a replay gives away (`logout`).
"""
