"""thumbor's URLs: its grammar, signatures, filters and geometry, lowered to our recipes.

`docs/dialects.md` lists what is understood, and what departs.
"""
