"""Our answers and those of another service, compared request by request."""
