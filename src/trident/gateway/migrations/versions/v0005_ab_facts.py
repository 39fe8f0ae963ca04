"""What an A/B report is made of beside requests and feedback: attempts that failed, and shadows' answers compared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From the collections of documents."""
    op.create_table(
        "failures",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("deployment", sa.String(256), primary_key=True),
        sa.Column("ended_at", sa.Float, nullable=False, index=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
    )
    op.create_table(
        "comparisons",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("ended_at", sa.Float, nullable=False, index=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("deployment", sa.String(256), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("shadow", sa.String(256), nullable=False),
        sa.Column("shadow_version", sa.String(256), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("winner", sa.String(16), nullable=False),
        sa.Column("added_latency_s", sa.Float),
        sa.Column("added_chars", sa.Integer),
    )
