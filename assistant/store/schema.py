"""The tables of the database: the one place that names columns. It holds no queries.

Migrations under `migrations/` build exactly this metadata; a test compares the two. Ids of chunks are
never reused, so a derived index can never mistake a new chunk for an old one. Every chunk and every
removal carries its own change number, taken inside the transaction that made it; `classes`
counts the changes of the set of access classes, and `pruned` is the last removal that was forgotten.
`unrecorded` holds removals until the audit log names them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

# SQLite increments only a column declared INTEGER; PostgreSQL's integer ends at two thousand million.
Number = BigInteger().with_variant(Integer(), "sqlite")

access_classes = Table(
    "access_classes",
    metadata,
    Column("id", Number, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("principals", Text, nullable=False),
    Column("department", Text),
    Column("classification", Text, nullable=False),
    Column("residency", Text),
    sqlite_autoincrement=True,
)

documents = Table(
    "documents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("size_bytes", Number, nullable=False),
    Column("class_id", Number, ForeignKey("access_classes.id"), nullable=False, index=True),
    Column("dated", Text),
    Column("supersedes", Text),
    Column("supersedes_else", Text),
    Column("language", Text),
    Column("embedder", Text, nullable=False, index=True),
    Column("recipe", Text, nullable=False),
    Column("ingested_at", Text, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("source", "uri"),
    Index("ix_documents_supersedes", "source", "supersedes"),
    Index("ix_documents_supersedes_else", "source", "supersedes_else"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", Number, primary_key=True),
    Column("document_id", Text, ForeignKey("documents.id"), nullable=False, index=True),
    Column("ordinal", Number, nullable=False),
    Column("text", Text, nullable=False),
    Column("start", Number, nullable=False),
    Column("end", Number, nullable=False),
    Column("page", Number),
    Column("headings", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("change", Number, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

beside = Table(
    "beside",
    metadata,
    Column(
        "chunk_id", Number, ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("embedder", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
)

removals = Table(
    "removals",
    metadata,
    Column("chunk_id", Number, primary_key=True, autoincrement=False),
    Column("change", Number, nullable=False, unique=True),
)

likenesses = Table(
    "likenesses",
    metadata,
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("sketch", LargeBinary, nullable=False),
    Column("series", Text),
    Column("number", Text),
    Index("ix_likenesses_series", "series", "number"),
)

bands = Table(
    "bands",
    metadata,
    Column("band", Number, primary_key=True, autoincrement=False),
    Column("document_id", Text, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True, index=True),
)

unrecorded = Table(
    "unrecorded",
    metadata,
    Column("change", Number, primary_key=True, autoincrement=False),
    Column("document_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("chunks", Number, nullable=False),
    Column("removed_by", Text, nullable=False),
)

change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Number, nullable=False),
    Column("classes", Number, nullable=False, server_default="0"),
    Column("pruned", Number, nullable=False, server_default="0"),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("position", Number, primary_key=True, autoincrement=False),
    Column("answer_id", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    Column("entry", LargeBinary, nullable=False),
)

log_bodies = Table(
    "log_bodies",
    metadata,
    Column("position", Number, primary_key=True, autoincrement=False),
    Column("key_id", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("user_id", Text),
    Column("acts_for", Boolean(create_constraint=False), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
)
