"""The one door through which tokens are issued, as `idp.logout` is the one through which anything ends.

`service.py` decides by what the database says at this moment and then issues; `rules.py` is the decision; `store.py` asks
for everything that it needs in one statement. Every grant, and every response that brings tokens, calls it (docs/adr/0024).
"""
