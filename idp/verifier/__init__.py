"""The other side's library: verify tokens locally, and know within a stated bound of what has ended.

Usable by whoever installs `idp[verifier]`: it imports `idp.protocol` and nothing else of `idp`, no Flask, no SQLAlchemy.
Owns: the checks of a token, the keys it is verified with, what is known to have ended and how fresh that knowledge is.
Does not own: what the provider sends (`idp.signals`), who may do what in an app.
"""
