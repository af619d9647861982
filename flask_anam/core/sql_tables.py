"""The tables as this release sees them; `migrations` make them, and a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql


def _text(length: int) -> Any:
    """Return text that tells upper case from lower case, which MySQL does only when asked."""
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


metadata = MetaData()

sessions = Table(
    "anam_sessions",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("label", _text(128), nullable=False),
    Column("token_id", _text(16)),
    Column("session_id", _text(64)),
    Column("user_id", _text(255)),
    Column("persona_type", _text(100), nullable=False),
    Column("account", _text(64), nullable=False),
    Column("slot", _text(64)),
    Column("minted_at", Double(), nullable=False),
    Column("expires_at", Double(), nullable=False),
    Column("max_seconds", Integer()),
    Column("refused_at", Double()),
    Column("started_at", Double()),
    Column("ended_at", Double()),
    Column("seconds", Double()),
    Column("source", _text(8), nullable=False),
    Column("exit_status", _text(64)),
    UniqueConstraint("token_id", "session_id", name="uq_anam_sessions_token_session"),
    Index("ix_anam_sessions_label", "label"),
    Index("ix_anam_sessions_session", "session_id"),
    Index("ix_anam_sessions_user", "user_id", "minted_at"),
    Index("ix_anam_sessions_minted", "minted_at"),
    Index("ix_anam_sessions_source", "source", "id"),
)

#: One row per user with limits: whoever changes it is alone with that user until its commit.
users = Table(
    "anam_users",
    metadata,
    Column("user_id", _text(255), primary_key=True),
    Column("turn", Integer(), nullable=False),
)

counts = Table(
    "anam_counts",
    metadata,
    Column("start", BigInteger(), primary_key=True, autoincrement=False),
    Column("persona_type", _text(100), primary_key=True),
    Column("outcome", _text(64), primary_key=True),
    Column("number", BigInteger(), nullable=False),
)
