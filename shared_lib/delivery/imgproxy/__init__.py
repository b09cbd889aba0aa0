"""imgproxy's URLs: its grammar, signatures, options and geometry, lowered to our recipes.

`docs/dialects.md` lists what is understood, and what departs.
"""
