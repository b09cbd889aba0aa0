"""Commands for operators: the bootstrap job, and redrive, which retries what an outage failed."""
