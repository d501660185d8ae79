"""The other document that a document may mean by what it supersedes, until one of the two is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step; what is there keeps the one that was found when it was read."""
    op.add_column("documents", sa.Column("supersedes_else", sa.Text()))
    op.create_index("ix_documents_supersedes_else", "documents", ["source", "supersedes_else"])
