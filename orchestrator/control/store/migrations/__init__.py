"""Alembic's folder: `env` runs inside `store.migrating`, `versions` holds the steps."""
