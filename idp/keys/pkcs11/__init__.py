"""Private halves in a hardware security module, by PKCS #11."""
