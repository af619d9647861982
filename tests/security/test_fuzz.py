"""Whatever comes in: refused with an error of ours, or taken; never another exception.

Each target is fed the inputs of corpus.json, which were trouble once or look like it, and what
hypothesis makes up. `make fuzz` makes up many more. A new bad input belongs into the corpus.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cachelib import SimpleCache
from flask import Flask
from hosts import make_app
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from flask_anam import errors
from flask_anam.core.cache.backends import Backend
from flask_anam.core.cache.locks import NoLease, _end_of
from flask_anam.core.config import validators as checks
from flask_anam.core.config.settings import Settings, key_of
from flask_anam.core.minting import cooldowns
from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.session_options import SessionOptionsSchema
from flask_anam.core.tokens.store import TokenStore
from flask_anam.core.tokens.token import check_token, is_session_id, read_claims
from flask_anam.core.upstream.concurrency import _read
from flask_anam.core.upstream.retries import http_date, wait_hint
from flask_anam.core.upstream.sessions_api import _session
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock
from flask_anam.web.request_guards import check_same_site

CORPUS: dict[str, list[Any]] = json.loads(Path(__file__).with_name("corpus.json").read_text())
fuzzed = settings(
    max_examples=int(os.environ.get("ANAM_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=12,
)


def base64url(data: bytes) -> str:
    """Return data as a part of a token."""
    import base64

    return base64.urlsafe_b64encode(data).decode().rstrip("=")


tokens = st.one_of(
    st.text(max_size=200),
    st.lists(st.text("AZaz09_-+/=. ", max_size=40), max_size=5).map(".".join),
    st.dictionaries(
        st.sampled_from(["exp", "iat", "type", "sessionId", "x"]), anything, max_size=5
    ).map(lambda claims: f"a.{base64url(json.dumps(claims).encode())}.c"),
)


def judge(token: str) -> None:
    """Decode and judge a token."""
    claims = read_claims(token)
    for seconds in (claims.issued_at, claims.expires_at) if claims else ():
        assert seconds is None or math.isfinite(seconds)
    status = check_token(token, 1_800_000_000.0)
    assert status.reason in {"ok", "malformed", "expired", "legacy"}
    assert status.expires_in is None or status.expires_in >= 0


@pytest.mark.parametrize("token", CORPUS["tokens"])
def test_the_token_decoder_takes_each_known_input(token: str) -> None:
    """A verdict, whatever it is."""
    judge(token)


@fuzzed
@given(tokens)
def test_the_token_decoder_takes_anything(token: str) -> None:
    """The same for what nobody thought of."""
    judge(token)


odd = st.sampled_from([10**400, -(10**400), math.inf, math.nan, True, 1e300, -1, "a\0", "\ud800"])
moments = st.datetimes().map(str) | st.sampled_from(
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2027-01-01T00:00:00Z", "soon"]
)
sessions = st.fixed_dictionaries(
    {"id": st.just("s-1") | anything | odd, "startTime": moments | anything},
    optional={
        "endTime": moments | anything | odd,
        **dict.fromkeys(("sessionLengthMs", "clientLabel", "exitStatus"), anything | odd),
    },
)


@fuzzed
@given(anything | sessions)
def test_what_anam_says_of_a_session_is_believed_or_refused(entry: Any) -> None:
    """What is believed can be kept in every database, summed up and shown."""
    try:
        result = _session(entry)
    except errors.AnamBadResponse:
        return
    assert is_session_id(result.id)
    for moment in (result.started_at, result.ended_at):
        assert moment is None or 0 < moment < 8e9
    assert result.seconds is None or 0 <= result.seconds < 8e9
    assert result.exit_status is None or result.exit_status.isprintable()


@fuzzed
@given(
    st.dictionaries(st.sampled_from(["limit", "active", "estimatedWaitSeconds"]), anything | odd)
)
def test_what_anam_says_of_its_places_is_believed_or_left_out(answer: dict[str, Any]) -> None:
    """A number that a page can count with, or none."""
    result = _read(answer)
    for number in (result.limit, result.active, result.wait):
        assert number is None or 0 <= number <= 10**9


dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Xyz", ""]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Feb", "Dec", "Foo"]),
    st.integers(-1, 99999),
    *[st.integers(-1, 99)] * 3,
    st.sampled_from(["GMT", "+0000", "-0000", "+9999", "EST", "", "+2359"]),
)
header = st.text(max_size=40) | st.floats().map(str) | st.integers().map(str) | dates


def hint(value: str, date: str) -> None:
    """Read a hint from each header that may carry one."""
    for name in ("Retry-After", "RateLimit-Reset", "X-RateLimit-Org-Hour-Reset"):
        wait = wait_hint({name: value, "Date": date})
        assert wait is None or 0 <= wait <= 300
    moment = http_date(value)
    assert moment is None or math.isfinite(moment)


@pytest.mark.parametrize("value", CORPUS["retry_after"])
def test_hints_to_wait_take_each_known_input(value: str) -> None:
    """Nothing, or 0 to 300 seconds."""
    hint(value, "Wed, 21 Oct 2015 07:28:00 GMT")
    hint("Wed, 21 Oct 2015 07:28:00 GMT", value)


@fuzzed
@given(header, header)
def test_hints_to_wait_take_anything(value: str, date: str) -> None:
    """The same for what nobody thought of."""
    hint(value, date)


def look(stored: object, *, signed: bool) -> None:
    """Let the store find something under a key, as it is or with our own signature."""
    cache, clock = SimpleCache(), ManualClock()
    store = TokenStore(Backend(cache, NoLease()), b"secret", clock)
    if signed:
        entry = json.dumps({"k": "key", **stored} if isinstance(stored, Mapping) else stored)
        stored = store._signer.sign(entry).decode()
    cache.set("key", stored)
    result = store.lookup("key", ("key",))
    assert signed or result.token is None
    assert isinstance(store.get_text("key"), str | None)
    store.evict("key", "0" * 16)
    noted = store.get_texts("key", "other")
    assert noted[1] is None
    cool_down = cooldowns._parsed(noted[0]) if noted[0] else None
    assert cool_down is None or isinstance(cool_down.error, errors.UpstreamError)
    assert _end_of(stored) is not None


@pytest.mark.parametrize("stored", CORPUS["cache_values"], ids=repr)
def test_the_cache_gives_a_miss_for_each_known_value(stored: object) -> None:
    """Unsigned values are no tokens."""
    look(stored, signed=False)


@pytest.mark.parametrize("entry", CORPUS["entries"], ids=repr)
def test_the_cache_takes_each_known_entry_of_another_version(entry: object) -> None:
    """Signed by us, but not as we write today."""
    look(entry, signed=True)


@fuzzed
@given(anything, st.booleans())
def test_the_cache_may_hold_anything(stored: object, signed: bool) -> None:
    """The same for what nobody thought of."""
    look(stored, signed=signed)


@fuzzed
@given(st.dictionaries(st.sampled_from(["x", "t", "m", "e", "g", "n"]), anything))
def test_entries_may_hold_anything(entry: dict[str, Any]) -> None:
    """Signed, with our own names and with time left."""
    look({**entry, "x": 1e308}, signed=True)


schemas = [PersonaConfigSchema(), SessionOptionsSchema(), MintRequestSchema()]
names = sorted({f.data_key or "" for schema in schemas for f in schema.load_fields.values()})


@fuzzed
@given(st.dictionaries(st.sampled_from(names) | st.text(max_size=8), anything, max_size=6))
@example({"tools": [{"type": "server", "subtype": "webhook", "headers": {"a": {}}}]})
@example({"voiceGenerationOptions": {"speed": math.nan, "model": []}})
@example({"personaConfig": {"personaId": None}, "sessionOptions": {"egress": None}})
def test_persona_schemas_load_or_refuse(config: dict[str, Any]) -> None:
    """A config, or a ValidationError; what is loaded can be written as JSON."""
    for schema in schemas:
        with suppress(ValidationError):
            json.dumps(schema.load(config), allow_nan=False)


origin_like = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
        st.sampled_from(["example.com", "EXAMPLE.com", "[::1]", "u@h", "*.h", "bücher", "a b", ""]),
        st.sampled_from(["", ":", ":80", ":443", ":0", ":99999", ":x"]),
        st.sampled_from(["", "/", "?", "#", "\n"]),
    ),
)


def configure(origin: str) -> None:
    """Put an origin into the settings: what is taken is one that a browser can send."""
    try:
        (taken,) = checks.origins([origin])
    except checks.InvalidSetting:
        return
    parts = urlsplit(taken)
    assert taken == taken.lower().strip()
    assert taken.isascii()
    assert "@" not in taken
    assert "*" not in taken
    assert parts.port not in {0, {"http": 80, "https": 443}[parts.scheme]}


@pytest.mark.parametrize("origin", CORPUS["origins"])
def test_origins_are_configured_or_refused(origin: str) -> None:
    """Each known input."""
    configure(origin)


@fuzzed
@given(origin_like)
def test_any_origin_is_configured_or_refused(origin: str) -> None:
    """The same for what nobody thought of."""
    configure(origin)


@pytest.fixture(scope="module")
def app() -> Any:
    """Return an app for the whole module: nothing is kept of what it is asked."""
    with Sandbox() as sandbox:
        yield make_app(sandbox)


@fuzzed
@given(origin_like, origin_like, st.sampled_from(["same-origin", "none", "cross-site", "x", None]))
def test_any_origin_and_host_pass_or_are_refused(
    app: Flask, origin: str, host: str, site: str | None
) -> None:
    """No pair of headers ends in another error, and none passes whose names differ."""
    headers = {"HTTP_ORIGIN": origin, "HTTP_HOST": host, "HTTP_SEC_FETCH_SITE": site}
    environ = {name: value for name, value in headers.items() if value is not None}
    with app.test_request_context(environ_overrides=environ):
        try:
            check_same_site(frozenset())
        except errors.CrossSite:
            return
    if origin == "null":
        assert site == "same-origin"
    else:
        name = urlsplit(origin).hostname or ""
        assert name in host.lower()


def read_settings(key: str, value: object) -> None:
    """Read the settings with one value."""
    config = {"ANAM_API_KEY": "k", key: value}
    try:
        assert repr(Settings.from_mapping(config))
    except errors.ConfigError as exc:
        text = exc.text
    else:
        return
    assert key in text


@pytest.mark.parametrize(("key", "value"), CORPUS["config"])
def test_settings_are_read_or_refused(key: str, value: object) -> None:
    """Each known input; the error names the key."""
    read_settings(key, value)


@fuzzed
@given(st.sampled_from([key_of(row) for row in fields(Settings)]), anything | origin_like)
def test_any_setting_is_read_or_refused(key: str, value: object) -> None:
    """The same for what nobody thought of."""
    read_settings(key, value)
