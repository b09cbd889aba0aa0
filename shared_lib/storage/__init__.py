"""The object store: its buckets, presigned URLs, and how it is set up and probed."""
