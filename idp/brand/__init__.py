"""How the pages look for one deployment: its logo, its colours and its links.

Owns: `/brand.css`, `/brand/logo`. Does not own: the pages (`templates/`) and the style that they share (`static/idp.css`).
"""
