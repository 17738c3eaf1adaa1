"""What a person allowed a client, remembered, and the page that asks.

Owns: `consents`, `/consent`. Does not own: the request that asks (`authorization` hands it in as `PendingConsents`).
"""
