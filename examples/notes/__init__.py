"""Notes: a Flask web app that signs in with Authlib, and signs out when the provider says so."""
