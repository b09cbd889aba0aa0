"""Code that more than one function needs, in layers. Imports only go down: see ARCHITECTURE.md."""
