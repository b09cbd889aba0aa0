"""Renditions by URL: each dialect reads its URLs into an order, and one engine finds or makes what was ordered.

`docs/delivery.md` describes our own URLs.
"""
