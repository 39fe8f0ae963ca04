"""What Alembic runs for an upgrade: every migration in the one transaction that `Database.start` has begun."""

from __future__ import annotations

from alembic import context

from trident.gateway.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
