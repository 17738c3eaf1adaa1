"""Status lists (IETF Token Status List): which tokens count no more, for verifiers that fetch a list now and then."""
