"""The rows of what clients leave with the gateway: responses, files, batches. Every one belongs to a tenant.

Times are seconds since 1970. `migrations/versions/v0002_stored_objects.py` makes the tables.
"""

from __future__ import annotations

import re

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table

from trident.gateway.database import metadata

_ID = re.compile(r"(resp_|batch_|file-)[0-9a-f]{32}")

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("deployment", String(128), nullable=False),  # where it runs, for a cancel
    Column("body", JSON, nullable=False),  # the response object
    Column("input", JSON, nullable=False),  # items: those of the responses before it, then its own
    Column("bytes", BigInteger, nullable=False, server_default="0"),  # of both, about
    Index("ix_responses_tenant_bytes", "tenant", "bytes"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),  # also its name in the folder of files
    Column("tenant", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(255), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index("ix_files_tenant_created", "tenant", "created_at"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),  # the end of its completion window
    Column("ended_at", Float, index=True),
    Column("status", String(16), nullable=False, index=True),
    Column("endpoint", String(64), nullable=False),
    Column("input_file_id", String(64), nullable=False),
    Column("identity", JSON, nullable=False),  # in whose name it asks
    Column("metadata", JSON, nullable=False),
    Column("times", JSON, nullable=False),  # "in_progress_at" and its like
    Column("errors", JSON, nullable=False),  # of a file that is no batch: a list
    Column("total", Integer, nullable=False),  # lines, as the next two
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("output_expires_s", Integer),  # after the files of its answers are made
    Column("output_file_id", String(64)),
    Column("error_file_id", String(64)),
    Column("runner", String(64)),  # who works on it
    Column("beat", Integer, nullable=False),  # grows while that one lives
    Index("ix_batches_tenant_created", "tenant", "created_at"),
)


def is_stored_id(text: str) -> bool:
    """Whether it can be one of ours; what cannot, a database need not see, nor a folder."""
    return _ID.fullmatch(text) is not None
