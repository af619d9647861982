"""Session records, the rows that users are locked by, and counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None


def _text(length: int) -> sa.types.TypeEngine[str]:
    """Return text; on MySQL its bytes, since that takes too much text for equal."""
    return sa.String(length).with_variant(mysql.VARBINARY(4 * length), "mysql", "mariadb")


_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "anam_sessions",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("label", _text(128), nullable=False),
        sa.Column("token_id", _text(16)),
        sa.Column("session_id", _text(64)),
        sa.Column("user_id", _text(255)),
        sa.Column("persona_type", _text(100), nullable=False),
        sa.Column("account", _text(64), nullable=False),
        sa.Column("slot", _text(64)),
        sa.Column("minted_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("max_seconds", sa.Integer()),
        sa.Column("refused_at", sa.Double()),
        sa.Column("started_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("source", _text(8), nullable=False),
        sa.Column("exit_status", _text(64)),
        sa.UniqueConstraint("token_id", "session_id", name="uq_anam_sessions_token_session"),
    )
    for name, columns in (
        ("label", ["label"]),
        ("session", ["session_id"]),
        ("user", ["user_id", "minted_at"]),
        ("minted", ["minted_at"]),
        ("source", ["source", "id"]),
    ):
        op.create_index(f"ix_anam_sessions_{name}", "anam_sessions", columns)
    op.create_table(
        "anam_users",
        sa.Column("user_id", _text(255), primary_key=True),
        sa.Column("turn", sa.Integer(), nullable=False),
    )
    op.create_table(
        "anam_counts",
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("persona_type", _text(100), primary_key=True),
        sa.Column("outcome", _text(64), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
