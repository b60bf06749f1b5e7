"""What Alembic runs around the migrations, on the connection that `store.migrating` hands it.

The transaction is the caller's: all steps of an upgrade are committed together or not at all.
"""

from __future__ import annotations

from alembic import context

from orchestrator.control.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
