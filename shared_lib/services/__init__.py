"""Use cases: what functions do, apart from how they are called."""
