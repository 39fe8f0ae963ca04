"""When a key was last used, without reading the whole ledger."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From the sizes of responses."""
    op.create_index("ix_requests_key_id_ended_at", "requests", ["key_id", "ended_at"])
