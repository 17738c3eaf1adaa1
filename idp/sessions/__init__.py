"""The browser's session at this provider: its `sid`, its cookie, its timeouts, and which clients took part in it.

Owns: `sessions`, `session_clients`, and `session_closings`: ends of very many that were decided and are carried out.
Does not own: what follows from an end (that is `logout`, the one door, which alone imports `sessions.ending`), people
(`accounts`), tokens (`tokens`).
"""
