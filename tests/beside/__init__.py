"""Our answers beside those of another service, request by request."""
