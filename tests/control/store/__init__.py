"""The store's contract, over SQLite in memory, SQLite in a file and PostgreSQL."""
