"""What must reach somebody else: the outbox, and the worker that empties it.

Owns: `deliveries`, `delivery_lanes`, `delivery_parties`. A room above writes one down in its own transaction
(`DeliveryService.enqueue`) and hands the worker a composer for its kind, which makes the message afresh at each
attempt. Does not own: what is said and to whom (`logout`, `signals`), and how a request goes out safely
(`runtime.outbound`).

At least once: a worker that dies between an answer and its commit sends again. Whoever receives tells by the `jti`.
"""
