"""People: their accounts, their passwords, and the pages on which they sign in and see where they are signed in.

Owns: `accounts`, `sign_in_throttles`, `/login`, `/account`, `/`, `/userinfo`, `idp user`. Does not own: the session that
a sign-in starts (`sessions`), what follows when one ends (`logout`, the one door), the authorization request that sent
the person here (`authorization` hands it in as `PendingRequests`), what a person allowed (`consent`).
"""
