"""The ground that every room stands on: clock, database, secrets, audit, outgoing HTTP, response headers.

It knows no room and no protocol beyond HTTP itself. Flask is known to `endpoints`, `pages` and what belongs to them.
"""
