"""What an image says of itself: read, cleaned, and written again."""
