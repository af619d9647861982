"""SQL tables of this release. The migrations create them; a test compares the two."""

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
    """Column type: text that is compared exactly.

    MySQL's own text types take "Ada" for "ada", and even with a binary collation "ada " for "ada":
    one user would get the sessions and the minutes of another. So MySQL stores bytes.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        """Set the upper limit of characters."""
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type for a database."""
        if _is_mysql(dialect):
            return dialect.type_descriptor(mysql.VARBINARY(4 * self.length))
        return dialect.type_descriptor(String(self.length))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return a value as it is sent to the database."""
        return value.encode() if value is not None and _is_mysql(dialect) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return a value as text."""
        return value.decode() if isinstance(value, bytes) else value


def _is_mysql(dialect: Dialect) -> bool:
    return dialect.name in {"mysql", "mariadb"}


metadata = MetaData()

sessions = Table(
    "anam_sessions",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("label", ExactText(128), nullable=False),
    Column("token_id", ExactText(16)),
    Column("session_id", ExactText(64)),
    Column("user_id", ExactText(255)),
    Column("persona_type", ExactText(100), nullable=False),
    Column("account", ExactText(64), nullable=False),
    Column("slot", ExactText(64)),
    Column("minted_at", Double(), nullable=False),
    Column("expires_at", Double(), nullable=False),
    Column("max_seconds", Integer()),
    Column("refused_at", Double()),
    Column("started_at", Double()),
    Column("ended_at", Double()),
    Column("seconds", Double()),
    Column("source", ExactText(8), nullable=False),
    Column("exit_status", ExactText(64)),
    UniqueConstraint("token_id", "session_id", name="uq_anam_sessions_token_session"),
    Index("ix_anam_sessions_label", "label"),
    Index("ix_anam_sessions_session", "session_id"),
    Index("ix_anam_sessions_user", "user_id", "minted_at"),
    Index("ix_anam_sessions_minted", "minted_at"),
    Index("ix_anam_sessions_source", "source", "id"),
)

#: One row per user with limits. Changing it locks the user until the transaction is over.
users = Table(
    "anam_users",
    metadata,
    Column("user_id", ExactText(255), primary_key=True),
    Column("turn", Integer(), nullable=False),
)

counts = Table(
    "anam_counts",
    metadata,
    Column("start", BigInteger(), primary_key=True, autoincrement=False),
    Column("persona_type", ExactText(100), primary_key=True),
    Column("outcome", ExactText(64), primary_key=True),
    Column("number", BigInteger(), nullable=False),
)
