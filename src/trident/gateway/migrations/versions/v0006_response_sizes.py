"""How much of what is stored is whose: the size of each response. Those from before count as none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From the tables of an A/B report."""
    op.add_column("responses", sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("ix_responses_tenant_bytes", "responses", ["tenant", "bytes"])
