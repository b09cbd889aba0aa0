"""Images and collections, their states and rules. Nothing here does I/O."""
