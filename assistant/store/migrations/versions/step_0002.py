"""Removals can be pruned; the set of access classes counts its changes, and unused ones are let go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this step."""
    op.add_column("change_counter", sa.Column("classes", NUMBER, nullable=False, server_default="0"))
    op.add_column("change_counter", sa.Column("pruned", NUMBER, nullable=False, server_default="0"))
    op.execute("DELETE FROM access_classes WHERE id NOT IN (SELECT class_id FROM documents)")
