"""The rows of collections, their documents and the passages of these. Every one belongs to a tenant.

Times are seconds since 1970. `migrations/versions/v0004_collections.py` makes the tables.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from trident.gateway.database import metadata

collections = Table(
    "collections",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("name", String(64), nullable=False),
    Column("model", String(256), nullable=False),  # by which its passages were embedded
    Column("version", Integer, nullable=False),  # grows with every change
    Column("created_at", Float, nullable=False),
    UniqueConstraint("tenant", "name", name="uq_collections_tenant_name"),
)

documents = Table(
    "documents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(128), nullable=False, index=True),
    Column("collection_id", String(32), nullable=False),
    Column("name", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),  # of its text
    Column("bytes", BigInteger, nullable=False),
    Column("num_passages", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("collection_id", "name", name="uq_documents_collection_name"),
)

passages = Table(
    "passages",
    metadata,
    Column("document_id", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),  # in the document, from 0
    Column("tenant", String(128), nullable=False),
    Column("collection_id", String(32), nullable=False),
    Column("place", String(255), nullable=False),
    Column("text", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian, of length 1
    Index("ix_passages_collection", "collection_id"),
)
