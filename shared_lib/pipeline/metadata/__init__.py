"""Image metadata: extracted, and filtered for renditions."""
