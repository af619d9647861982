"""Account behind the API: authenticates callers, mints tokens and starts sessions."""

import hashlib
import hmac
import math
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flask_anam.sandbox.api import catalog, jwt, mint_rules
from flask_anam.sandbox.api.sessions import ORGANIZATION_ID, Sessions, SessionStart
from flask_anam.sandbox.api.validators import ValidationErrors
from flask_anam.sandbox.http.messages import ApiError, Request, Response, json_response, parse_json
from flask_anam.sandbox.ledger import Ledger, MintRecord, drop_oldest

RefusalKind = Literal["concurrency", "spend", "usage", "rate"]
RefusalPlace = Literal["session", "mint", "both"]

#: The `error` texts of a 429; the SDKs match the first two exactly. Source: Anam SDKs, July 2026.
_REFUSALS: Mapping[str, str] = {
    "concurrency": "Concurrent session limit reached",
    "spend": "Spend cap reached",
    "usage": "Usage limit reached",
    "rate": "Too many requests",
}
#: Headers of a 429 of the kind `rate`; times in seconds.
_RATE_HEADERS = (
    ("Retry-After", "1"),
    ("RateLimit-Limit", "10"),
    ("RateLimit-Remaining", "0"),
    ("RateLimit-Reset", "1"),
)
_CATALOG_FIELDS = {"avatarId": catalog.AVATARS, "voiceId": catalog.VOICES, "llmId": catalog.LLMS}


@dataclass(frozen=True)
class AccountSettings:
    """Settings of an account; the names are those of :class:`flask_anam.sandbox.Sandbox`."""

    single_use: bool
    concurrency_limit: int | None
    token_lifetime: int
    strict_ids: bool


class Account:
    """Customer account: an API key, its session tokens and its sessions; thread-safe."""

    def __init__(
        self,
        api_key: str,
        secret: bytes,
        settings: AccountSettings,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._api_key = api_key
        self._secret = secret
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._mints: dict[str, MintRecord] = {}
        self._refusals: dict[str, str] = {}
        digest = hashlib.sha256(api_key.encode()).digest()
        #: Stands for the API key wherever the API names it.
        self.key_id = str(uuid.UUID(bytes=digest[:16], version=4))
        self.sessions = Sessions(
            ledger, limit=settings.concurrency_limit, single_use=settings.single_use, clock=clock
        )
        self._lock = threading.Lock()

    def reinit_after_fork(self) -> None:
        """Replace the locks: in the parent, threads may have held them."""
        self._lock = threading.Lock()
        self.sessions.reinit_after_fork()

    def refuse(self, kind: RefusalKind | None, at: RefusalPlace) -> None:
        """Answer 429 of this kind at `at` from now on; None ends all refusals.

        Raises:
            ValueError: `kind` or `at` is another text, or `concurrency` is to be refused at the
                mint, where the vendor does not check it.

        """
        if kind is not None and kind not in _REFUSALS:
            raise ValueError(f"kind must be one of {', '.join(_REFUSALS)}, or None.")
        if at not in get_args(RefusalPlace):
            raise ValueError(f"at must be one of {', '.join(get_args(RefusalPlace))}.")
        if kind == "concurrency" and at != "session":
            raise ValueError("Concurrency is checked at the start of a session, not at the mint.")
        with self._lock:
            if kind is None:
                self._refusals.clear()
            else:
                places = ("session", "mint") if at == "both" else (at,)
                self._refusals.update(dict.fromkeys(places, kind))

    def require_key(self, request: Request) -> None:
        """Authenticate a request by the API key.

        Raises:
            ApiError: The key is missing or another one (401).

        """
        if request.bearer is None:
            raise ApiError(401, "Missing or invalid API key")
        if not self._is_key(request.bearer):
            raise ApiError(401, "Invalid API key")

    def _is_key(self, credential: str) -> bool:
        return hmac.compare_digest(
            credential.encode("utf-8", "surrogateescape"), self._api_key.encode()
        )

    def mint(self, request: Request) -> Response:
        """Answer ``POST /v1/auth/session-token``.

        Raises:
            ApiError: The request is refused as the vendor refuses it (400, 404, 429).

        """
        self._check_refusals("mint")
        body = _json_object(request, required=True)
        self._validate_mint(body)
        return json_response(200, {"sessionToken": self.issue(body)})

    def issue(
        self,
        body: Mapping[str, Any],
        *,
        type_: str | None = None,
        issued_at: float | None = None,
        lifetime: int | None = None,
    ) -> str:
        """Return a new session token for a valid mint body, and record it in the ledger."""
        now = self._clock()
        start = math.floor(now if issued_at is None else issued_at)
        claims = {
            "type": mint_rules.token_type(body) if type_ is None else type_,
            "accountId": ORGANIZATION_ID,
            "sessionId": str(uuid.uuid4()),
            "iat": start,
            "exp": start + (self._settings.token_lifetime if lifetime is None else lifetime),
        }
        token = jwt.encode(claims, self._secret)
        record = MintRecord(
            token_id=jwt.token_id(token),
            session_id=str(claims["sessionId"]),
            type=str(claims["type"]),
            persona_config=_persona_config(body),
            session_options=body.get("sessionOptions"),
            client_label=body.get("clientLabel"),
            environment=body.get("environment"),
            key_id=self.key_id,
            at=now,
        )
        with self._lock:
            self._mints[record.token_id] = record
            drop_oldest(self._mints)
        self._ledger.add_mint(record)
        return token

    def start_session(self, request: Request, engine_host: str) -> Response:
        """Answer ``POST /v1/engine/session``, for the API key or a session token.

        Raises:
            ApiError: The request is refused as the vendor refuses it (400, 401, 404, 429).

        """
        credential = request.bearer
        if credential is None:
            raise ApiError(401, "Missing or invalid API key", "Send a token or an API key.")
        if self._is_key(credential):
            start = self._start_with_key(request, engine_host)
        else:
            start = self._start_with_token(request, credential, engine_host)
        self._check_refusals("session")
        self.sessions.start(start)
        return json_response(
            200,
            {
                "sessionId": start.session_id,
                "engineHost": engine_host,
                "engineProtocol": "http",
                "signallingEndpoint": "/ws",
                "region": "sandbox",
                "clientConfig": {
                    "heartbeatIntervalSeconds": 5,
                    "maxWsReconnectionAttempts": 5,
                    "iceServers": [],
                },
            },
        )

    def _start_with_key(self, request: Request, engine_host: str) -> SessionStart:
        body = _json_object(request, required=True)
        self._validate_mint(body)
        return SessionStart(
            session_id=str(uuid.uuid4()),
            token_id=None,
            client_label=body.get("clientLabel"),
            persona_config=_persona_config(body),
            client_metadata=body.get("clientMetadata", {}),
            session_options=body.get("sessionOptions"),
            engine_host=engine_host,
            key_id=self.key_id,
        )

    def _start_with_token(self, request: Request, token: str, engine_host: str) -> SessionStart:
        claims = self._claims(token)
        body = _json_object(request, required=False)
        _raise_if_any(mint_rules.validate_start(body))
        token_id = jwt.token_id(token)
        with self._lock:
            mint = self._mints.get(token_id)
        # A token of another sandbox with the same secret is valid, but its mint is not known here.
        return SessionStart(
            session_id=str(claims.get("sessionId")),
            token_id=token_id,
            client_label=mint.client_label if mint else None,
            persona_config=mint.persona_config if mint else {},
            client_metadata=body.get("clientMetadata", {}),
            session_options=mint.session_options if mint else None,
            engine_host=engine_host,
            key_id=self.key_id,
        )

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self._secret)
        except jwt.InvalidTokenError:
            message = "This is neither the API key nor a session token of this sandbox."
            raise ApiError(401, "Invalid session token", message) from None
        expires = claims.get("exp")
        if not isinstance(expires, int) or self._clock() >= expires:
            raise ApiError(401, "Session token expired")
        if claims.get("type") == "legacy":
            raise ApiError(400, "Legacy session tokens are no longer supported")
        return claims

    def _check_refusals(self, place: RefusalPlace) -> None:
        with self._lock:
            kind = self._refusals.get(place)
        if kind is not None:
            headers = _RATE_HEADERS if kind == "rate" else ()
            raise ApiError(429, _REFUSALS[kind], headers=headers)

    def _validate_mint(self, body: Mapping[str, Any]) -> None:
        _raise_if_any(mint_rules.validate_mint(body))
        if self._settings.strict_ids:
            _validate_ids(_persona_config(body))


def _validate_ids(persona: Mapping[str, Any]) -> None:
    if "personaId" in persona and not _in_catalog(persona["personaId"], catalog.PERSONAS):
        raise ApiError(404, "persona not found")
    errors = ValidationErrors()
    for name, entries in _CATALOG_FIELDS.items():
        if name in persona and not _in_catalog(persona[name], entries):
            errors.add(("personaConfig", name), "Is not known here.")
    _raise_if_any(errors)


def _in_catalog(id_: str, entries: tuple[catalog.Entry, ...]) -> bool:
    return any(entry["id"] == id_ for entry in entries)


def _persona_config(body: Mapping[str, Any]) -> dict[str, Any]:
    outside = {"personaId": body["personaId"]} if "personaId" in body else {}
    return {**outside, **body.get("personaConfig", {})}


def _json_object(request: Request, *, required: bool) -> dict[str, Any]:
    try:
        body = parse_json(request.raw_body)
    except ValueError:
        raise ApiError(400, "Malformed JSON", "The body is not JSON.", details={}) from None
    if body is None and not required:
        return {}
    if not isinstance(body, dict):
        details = {"_errors": ["Must be an object."]}
        raise ApiError(400, message="The body is not a JSON object.", details=details)
    return body


def _raise_if_any(errors: ValidationErrors) -> None:
    if errors.messages:
        raise ApiError(400, message=errors.summary(), details=errors.tree())
