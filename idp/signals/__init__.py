"""What verifiers hear: the status lists, for whoever only caches HTTP (Token Status List).

Owns: `/status`, and what a list looks like. Does not own: which families ended (`tokens` says so), what ends (`logout`).
"""
