"""Decoding of untrusted bytes: one confined worker process per image, and the messages exchanged with it."""
