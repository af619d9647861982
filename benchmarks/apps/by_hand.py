"""The vendor's page written by hand for Flask, with the libraries that Flask-Anam uses too.

As a careful developer would write it in an afternoon: log-in, permission, a limit per user by
Flask-Limiter, a persona by name, a cached token by cachelib, and a mint by requests. It has no
slots, no single-flight, no signed entries, no retries and no deadline.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from cachelib import RedisCache, SimpleCache
from cachelib.base import BaseCache
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_login import current_user, login_required
from marshmallow import Schema, fields, validate

from benchmarks.apps import host

#: Seconds for which a token is kept, as on the page.
KEEP = 50 * 60


class TokenRequest(Schema):
    """What a browser may send."""

    persona_type = fields.String(
        data_key="personaType", required=True, validate=validate.Length(min=1, max=100)
    )
    slot = fields.String(validate=validate.Length(max=64))


def make_app() -> Flask:
    """Return the app."""
    app = host.make_host()
    known = host.personas()
    cache = _cache()
    schema = TokenRequest()
    http = requests.Session()
    http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=_threads()))
    limiter = Limiter(_user_key, app=app, storage_uri=host.LIMITS)

    @app.post(host.PATH)
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login carries no types
    @limiter.limit(host.LIMIT)
    def token() -> ResponseReturnValue:
        if not current_user.can_access_personas:
            return jsonify(error="Insufficient permissions"), 403
        wanted = schema.load(request.get_json())
        config = known.get(wanted["persona_type"])
        if config is None:
            return jsonify(error="Unknown persona"), 404
        text = json.dumps([config, current_user.get_id()], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        kept: Any = cache.get(key)
        if kept is None or kept["expires_at"] <= time.time():
            answer = http.post(
                f"{host.UPSTREAM}/v1/auth/session-token",
                json={"personaConfig": config},
                headers={"Authorization": "Bearer benchmark-key"},
                timeout=10,
            )
            answer.raise_for_status()
            kept = {"token": answer.json()["sessionToken"], "expires_at": time.time() + KEEP}
            cache.set(key, kept, timeout=KEEP)
        return jsonify(sessionToken=kept["token"], expiresAt=int(kept["expires_at"]))

    return app


def _threads() -> int:
    return int(os.environ.get("BENCH_THREADS", "32"))


def _user_key() -> str:
    return f"user:{current_user.get_id()}"


def _cache() -> BaseCache:
    if host.CACHE == "memory://":
        return SimpleCache(threshold=10_000)
    return RedisCache(host="127.0.0.1", port=urlsplit(host.CACHE).port or 6379)
