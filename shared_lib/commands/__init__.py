"""What an operator runs: the bootstrap job, and trying again what an outage failed."""
