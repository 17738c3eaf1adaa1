"""What verifiers hear: every ending as a signed security event, in one order, for whoever verifies tokens locally.

Owns: `signals` (the log), `signal_streams` (who follows it, and how far), the Shared Signals endpoints (SSF 1.0, poll by
RFC 8936), the hub that numbers what was committed and wakes the followers, and the status lists for whoever only caches
HTTP (`status_list_*`). A room above writes an event down in the transaction of the ending (`SignalService.emit`). Does not
own: what ends (`logout`), which families ended (`tokens` says so), the words of the events (`protocol.events`), the other
side (`verifier`).

    ending's transaction -> log -> hub numbers it after the commit -> a waiting poll is answered by the lane
"""
