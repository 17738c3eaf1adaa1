"""The ground that every room stands on: clock, database, secrets, audit, outgoing HTTP, response headers.

It knows no room, no Flask and no protocol beyond HTTP itself.
"""
