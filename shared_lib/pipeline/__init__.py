"""Pixels: what may be asked of an image, and the box in which it is decoded, transformed and encoded.

The HTTP functions read recipes by `notation`, and hand them to `box`: neither loads an imaging library. Only the box's
child processes (`child`, which imports `render`) ever parse an untrusted byte, and they load no pydantic. This package
itself is imported by both, and so imports nothing.
"""
