"""Everything about pixels: recipes, and the sandbox in which images are decoded, transformed and encoded.

HTTP functions read recipes with `recipe_schema`, and must not load an imaging library. The processor hands recipes to
`sandbox.pool`. Only its worker processes, which import `render`, parse untrusted bytes, and they load no pydantic. All
of them import this package, so it imports nothing itself.
"""
