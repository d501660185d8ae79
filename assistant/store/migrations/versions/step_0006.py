"""The documents of an embedder, found without looking through those of another."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_index("ix_documents_embedder", "documents", ["embedder"])
