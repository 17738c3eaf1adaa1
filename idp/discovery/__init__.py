"""What this provider announces: true to what is served (OpenID Connect Discovery 1.0, RFC 8414)."""
