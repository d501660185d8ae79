"""What Alembic runs: the steps, on the connection and in the transaction of `Database.migrate()`."""

from __future__ import annotations

from alembic import context

from assistant.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
