"""Mint body: the checked request body of a mint, its hash, and whether it carries secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from flask_anam.core.hashing import canonical


@dataclass(frozen=True, slots=True)
class MintBody:
    """Checked request body of a mint; it may hold prompts and secrets. Immutable.

    Attributes:
        body: what is sent to Anam.
        digest: SHA-256 of the canonical body in hex, equal for equal meaning.
        holds_secrets: whether its token must not be stored, since it carries secrets with a
            shorter life: an environment, tools with headers or signed URLs, or deferred values.

    """

    body: Mapping[str, Any] = field(repr=False)
    digest: str
    holds_secrets: bool

    @classmethod
    def of(cls, body: Mapping[str, Any], *, deferred: bool = False) -> MintBody:
        """Return the body with its hash; `deferred` says that it held deferred values."""
        digest = hashlib.sha256(canonical(body)).hexdigest()
        return cls(MappingProxyType(dict(body)), digest, deferred or _has_secret(body))


def _has_secret(body: Mapping[str, Any]) -> bool:
    if body.get("environment"):
        return True
    egress = body.get("sessionOptions", {}).get("egress", {})
    return _is_signed([egress, body["personaConfig"].get("tools", ())])


def _is_signed(value: object) -> bool:
    """Whether a part holds headers, a token or a URL with a query, at any depth."""
    if isinstance(value, list | tuple):
        return any(map(_is_signed, value))
    if not isinstance(value, Mapping):
        return False
    if value.get("headers") or value.get("token"):
        return True
    urls = (str(value.get(name, "")) for name in ("url", "roomUrl"))
    return any("?" in url for url in urls) or any(map(_is_signed, value.values()))
