"""What is found out once, when an app is set up: its personas, its secret, its sandbox."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from flask import Flask

from flask_anam.core.cache.backends import is_shared
from flask_anam.core.config.settings import Settings
from flask_anam.core.hashing import KeyHasher
from flask_anam.core.personas.files import read_personas
from flask_anam.core.redaction import SecretBytes
from flask_anam.errors import ConfigError

if TYPE_CHECKING:
    from flask_anam.sandbox import Sandbox

log = logging.getLogger("flask_anam")


def configured_personas(settings: Settings) -> dict[str, object]:
    """Return the personas of ANAM_PERSONAS and of ANAM_PERSONAS_FILE."""
    in_files = read_personas(settings.personas_file) if settings.personas_file else {}
    twice = sorted(set(in_files) & set(settings.personas))
    if twice:
        raise ConfigError(
            f"Persona {twice[0]!r} is both in ANAM_PERSONAS and in ANAM_PERSONAS_FILE. "
            "Remove one of the two."
        )
    return {**settings.personas, **in_files}


def secret_of(app: Flask, settings: Settings) -> bytes:
    """Return what cache keys and values are signed with: the app's secret key."""
    secret = app.secret_key
    if secret:
        return SecretBytes(secret.encode() if isinstance(secret, str) else secret)
    limits_shared = settings.rate_limit_storage_uri != "memory://"
    if limits_shared or is_shared(settings.cache):
        key = "ANAM_RATE_LIMIT_STORAGE_URI" if limits_shared else "ANAM_CACHE"
        raise ConfigError(
            f"SECRET_KEY must be set, since {key} is shared between processes and its entries "
            "are signed or named with it. Set app.secret_key before init_app()."
        )
    return SecretBytes(secrets.token_bytes(32))


def open_sandbox(secret: bytes) -> Sandbox:
    """Return a sandbox that takes the place of Anam, and say so in the log."""
    from flask_anam.sandbox import Sandbox  # an app in production never needs it

    log.warning(
        "ANAM_SANDBOX is on: a local stand-in takes the place of Anam. ANAM_API_KEY and "
        "ANAM_BASE_URL are not used."
    )
    keys = KeyHasher(secret)
    # Made from the app's secret, so that several workers accept each other's tokens.
    return Sandbox(api_key=keys("sandbox-key")[-24:], token_secret=keys("sandbox-secret"))
