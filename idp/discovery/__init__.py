"""What this provider announces: true to what is served (OpenID Connect Discovery 1.0, RFC 8414), and whether it is able to.

Owns: the well-known documents, `/health`, `/metrics`, `health_checks`. Does not own: the threads that health asks about
(`runtime.supervision`).
"""
