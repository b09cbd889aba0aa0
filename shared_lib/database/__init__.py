"""PostgreSQL: connections, transactions, and the migrations of its tables."""
