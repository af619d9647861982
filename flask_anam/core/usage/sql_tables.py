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
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine


class ExactText(TypeDecorator[str]):
    """Text of which nothing is taken for equal that is not.

    MySQL's own text takes "Ada" for "ada", and even with a binary collation "ada " for "ada": one
    user would be let into the sessions, and have the minutes, of another. So it gets bytes.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        """Make the type of a text of so many characters at most."""
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of a kind of database."""
        if _has_odd_text(dialect):
            return dialect.type_descriptor(mysql.VARBINARY(4 * self.length))
        return dialect.type_descriptor(String(self.length))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return a value as it is sent."""
        return value.encode() if value is not None and _has_odd_text(dialect) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return a value as it is read."""
        return value.decode() if isinstance(value, bytes) else value


def _has_odd_text(dialect: Dialect) -> bool:
    return dialect.name in {"mysql", "mariadb"}


_text = ExactText


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
