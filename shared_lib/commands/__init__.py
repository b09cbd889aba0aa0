"""Commands for operators: bootstrap, redrive, tenants, API keys, and the check of the audit log."""
