"""Request validation: content type, size, origin and JSON of what a browser sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from flask import Request, request
from marshmallow import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from flask_anam.core.redaction import SecretBytes, scrubs_traceback
from flask_anam.core.schemas.base import limit_errors
from flask_anam.core.tokens.token import is_plain_id
from flask_anam.errors import (
    CrossSite,
    InvalidRequest,
    MalformedJson,
    PayloadTooLarge,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marshmallow import Schema

    from flask_anam.web.schemas import TextRule

#: Bytes of a request body at most.
MAX_BODY = 16 * 1024
#: Digits of a Content-Length header at most.
MAX_LENGTH_DIGITS = 20
#: Levels of nesting at most: objects and lists inside each other.
MAX_DEPTH = 32
#: Characters of an Idempotency-Key header at most.
MAX_IDEMPOTENCY_KEY = 255


def read_body(allowed_origins: frozenset[str], *, json_only: bool = True) -> bytes:
    """Return the body of the current request, after the checks that need no user.

    Args:
        allowed_origins: origins besides our own whose pages may call.
        json_only: False for a beacon, whose content type is the browser's choice.

    Raises:
        UnsupportedMediaType: the body is not declared as JSON.
        PayloadTooLarge: it is over 16 KiB.
        CrossSite: the request comes from a page of another site.

    """
    here: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    plain = here.environ.get("CONTENT_TYPE") == "application/json"
    if json_only and not (plain or here.is_json):
        raise UnsupportedMediaType
    body = _body(here)
    check_same_site(allowed_origins)
    return SecretBytes(body)


def check_same_site(allowed_origins: frozenset[str]) -> None:
    """Raise CrossSite when a browser says that another site's page sent this request.

    A caller that sends neither ``Origin`` nor ``Sec-Fetch-Site`` is no browser, and cannot be
    misled into sending somebody's cookies.
    """
    header = request.environ.get
    origin = header("HTTP_ORIGIN")
    if origin is not None:
        if origin in allowed_origins or _is_own(origin):
            return
        raise CrossSite
    if header("HTTP_SEC_FETCH_SITE", "none") not in {"same-origin", "none"}:
        raise CrossSite


def load_json(
    body: bytes, schema: Schema, texts: Mapping[str, TextRule] | None = None
) -> dict[str, Any]:
    """Return a request body, parsed and checked.

    Args:
        body: the JSON text.
        schema: what it must fit.
        texts: rules of the schema's text fields: a body of nothing else skips marshmallow, which
            is slow.

    Raises:
        MalformedJson: it is not JSON.
        InvalidRequest: it does not fit the schema; the details name the fields.

    """
    loaded = _load_texts(body, texts) if texts else None
    return _load_checked(body, schema) if loaded is None else loaded


def _load_texts(body: bytes, rules: Mapping[str, TextRule]) -> dict[str, Any] | None:
    """Return what the schema would, for an object of nothing but valid ASCII texts, else None."""
    try:
        data = _decoder.decode(body.decode())
    except (ValueError, RecursionError):
        return None
    if type(data) is not dict:
        return None
    loaded: dict[str, Any] = {}
    for key, value in data.items():
        rule = rules.get(key)
        if rule is None or type(value) is not str or not value.isascii():
            return None
        name, shortest, longest, is_id = rule
        if not shortest <= len(value) <= longest or (is_id and not is_plain_id(value)):
            return None
        loaded[name] = value
    return loaded


@scrubs_traceback
def _load_checked(body: bytes, schema: Schema) -> dict[str, Any]:
    try:
        data = _parsed(body)
    except (ValueError, RecursionError):
        raise MalformedJson from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(data):
        raise InvalidRequest(details={"_schema": [f"Nested more than {MAX_DEPTH} levels deep."]})
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as exc:
        raise InvalidRequest(details=_details(exc.messages)) from None
    return loaded


def query() -> dict[str, str]:
    """Return the query of the current request.

    Raises:
        InvalidRequest: a parameter is given more than once.

    """
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise InvalidRequest(details={name: ["Given more than once."] for name in repeated})
    return request.args.to_dict()


def idempotency_key() -> str | None:
    """Return the ``Idempotency-Key`` header, or None.

    Raises:
        InvalidRequest: it is longer than 255 characters.

    """
    key: str | None = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key and len(key) > MAX_IDEMPOTENCY_KEY:
        raise InvalidRequest(details={"Idempotency-Key": ["Longer than 255 characters."]})
    return key or None


def _body(request: Request) -> bytes:
    declared = _declared_length(request)
    if declared is not None and declared > MAX_BODY:
        raise PayloadTooLarge
    try:
        # Without a declared length, one byte more than allowed is read.
        body = request.get_data() if declared is not None else request.stream.read(MAX_BODY + 1)
    except RequestEntityTooLarge:  # the host's own MAX_CONTENT_LENGTH is lower
        raise PayloadTooLarge from None
    if len(body) > MAX_BODY:
        raise PayloadTooLarge
    return body


def _declared_length(request: Request) -> int | None:
    text: str = request.environ.get("CONTENT_LENGTH", "")
    chunked = "HTTP_TRANSFER_ENCODING" in request.environ
    if len(text) > MAX_LENGTH_DIGITS and not chunked:
        raise PayloadTooLarge  # int() refuses thousands of digits
    return int(text) if text.isdecimal() and not chunked else request.content_length


def _is_own(origin: str) -> bool:
    """Whether an origin is this site: same host and port; a proxy may have ended TLS."""
    site = request.headers.get("Sec-Fetch-Site")
    if site not in {None, "same-origin"}:
        return False
    if origin == "null":  # a beacon of our own page, if that sends no referrers
        return site == "same-origin"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    default = {"http": 80, "https": 443}[parts.scheme]
    host = parts.netloc.lower() if port not in {None, default} else parts.hostname
    own = request.host.lower()
    return own in {host, f"{host}:{default}"}


def _is_deep(data: object) -> bool:
    """Whether data is nested too deep for the code that walks it by calling itself."""
    level = [data]
    for _ in range(MAX_DEPTH):
        nested = [part for part in level if isinstance(part, dict | list)]
        level = [
            item for part in nested for item in (part.values() if type(part) is dict else part)
        ]
        if not level:
            return False
    return any(isinstance(part, dict | list) for part in level)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _parsed(body: bytes) -> Any:
    """Return what `json.loads` does; it would make a new decoder for each text."""
    try:
        return _decoder.decode(body.decode())
    except ValueError:  # perhaps in another of JSON's encodings
        return json.loads(body, parse_constant=_no_constant)


def _details(messages: object) -> dict[str, object]:
    return limit_errors(messages if isinstance(messages, dict) else {"_schema": messages})
