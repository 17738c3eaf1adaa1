"""The one door through which anything ends.

`service.py` has one function for each thing that can be ended; its body reads as the list of what follows, in the
caller's transaction: mark it, end what hangs from it, write down everyone who must hear of it. Owns: `/logout`,
`/revoke`, logout tokens, `idp client check`. It alone may import `sessions.ending`, `tokens.ending`, `clients.ending` and
`keys.ending`.
"""
