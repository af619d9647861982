"""The calls this package makes to Anam, and what each answer means.

Paths, fields and error texts are those of Anam's OpenAPI (July 2026) and of its SDKs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.tokens.token import SessionToken, read_claims
from flask_anam.core.upstream.circuit_breaker import Breaker, Bulkhead, RetryBudget
from flask_anam.core.upstream.retries import CAP, MIN_ATTEMPT, backoff, wait_hint
from flask_anam.core.upstream.transport import MAX_BODY, Answer, Transport

log = logging.getLogger("flask_anam")

#: Characters of a session token that are believed at most.
MAX_TOKEN = 8192
LEGACY_CURE = (
    'Anam minted a token of type "legacy", which its SDKs refuse. Give the persona an llmId, and '
    "use personaId alone, without inline fields beside it."
)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new session token, and how many attempts it took."""

    token: SessionToken = field(repr=False)
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class _Call:
    """A kind of call.

    Attributes:
        name: in metrics.
        method, path: of the request.
        is_good: whether the JSON of a success (None when it is none) is what is needed.
        is_advice: whether it may fail without saying anything about Anam's health.

    """

    name: str
    method: str
    path: str
    is_good: Callable[[Any], bool] = lambda _: True
    is_advice: bool = False


class Witness(Protocol):
    """Hears of every attempt to call Anam; must not raise."""

    def attempted(self, call: str, outcome: str, seconds: float) -> None:
        """Hear of an attempt; the outcome is ``ok`` or the code of an error."""

    def retried(self) -> None:
        """Hear that a mint is tried again."""


class AnamClient:
    """The Anam API. Thread-safe; every call says which API key it uses.

    Args:
        transport: the way to the API.
        clock: time.
        max_attempts: tries of one mint in all, 1 or more.
        max_in_flight: calls under way at a time in this process.
        witness: hears of every attempt.

    """

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        max_attempts: int = 3,
        max_in_flight: int = 32,
        witness: Witness | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._max_attempts = max_attempts
        self._witness = witness
        self._bulkhead = Bulkhead(max_in_flight)
        self._breaker = Breaker(clock)
        self._budget = RetryBudget()

    @scrubs_traceback
    def mint(self, body: Mapping[str, Any], api_key: str, deadline: Deadline) -> Minted:
        """Ask Anam for a new session token, trying again where that can help.

        Raises:
            UpstreamError: Anam refused, failed, or could not be reached within the deadline.

        """
        for attempt in range(self._max_attempts):
            try:
                token = self._mint_once(body, api_key, deadline)
            except errors.UpstreamError as error:
                wait = self._wait_before_retry(error, attempt, deadline)
                if wait is None:
                    raise
            else:
                self._budget.earn(retried=attempt > 0)
                return Minted(token, attempt + 1)
            self._clock.sleep(wait)
            if self._witness:
                self._witness.retried()
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    @scrubs_traceback
    def start_session(self, session_token: str, deadline: Deadline) -> str:
        """Start a session with a session token, which that may use up; return the session id."""
        call = _Call("start", "POST", "/v1/engine/session", is_good=_has_session_id)
        body = {"clientMetadata": {"client": "flask-anam"}}
        started, _ = self._call(call, session_token, deadline, body=body)
        return str(started["sessionId"])

    @scrubs_traceback
    def stop_session(self, session_id: str, api_key: str, deadline: Deadline) -> None:
        """Stop a session."""
        call = _Call("stop", "POST", f"/v1/sessions/{quote(session_id, safe='')}/stop")
        self._call(call, api_key, deadline, body={})

    @scrubs_traceback
    def get(
        self,
        path: str,
        api_key: str,
        deadline: Deadline,
        query: Mapping[str, str] | None = None,
        *,
        most: int = MAX_BODY,
    ) -> Any:
        """Return the JSON of a GET, of `most` bytes; raises UpstreamError unless it succeeds."""
        call = _Call("read", "GET", path, is_good=_is_json)
        found, _ = self._call(call, api_key, deadline, query=query, most=most)
        return found

    @scrubs_traceback
    def concurrency(self, api_key: str, deadline: Deadline) -> dict[str, Any]:
        """Return Anam's advisory view of how many sessions run and may run.

        That this fails says nothing about mints, and never makes the breaker open.
        """
        path = "/v1/sessions/concurrency"
        call = _Call("concurrency", "GET", path, is_good=_is_object, is_advice=True)
        found, _ = self._call(call, api_key, deadline)
        return dict(found)

    def close(self) -> None:
        """Close the connections of this process."""
        self._transport.close()

    def _mint_once(self, body: Mapping[str, Any], api_key: str, deadline: Deadline) -> SessionToken:
        asked_at = self._clock.time()
        call = _Call("mint", "POST", "/v1/auth/session-token", is_good=_has_token)
        found, answer = self._call(call, api_key, deadline, body=dict(body))
        value = found["sessionToken"]
        claims = read_claims(value)
        if claims is None:
            log.warning("Anam's session token is not a JWT; it is taken to last one hour.")
        elif claims.type == "legacy":
            raise errors.AnamRejected(LEGACY_CURE)
        return SessionToken.minted(
            value, claims, asked_at=asked_at, issuer_now=_date(answer.headers.get("Date"))
        )

    def _call(
        self,
        call: _Call,
        credential: str,
        deadline: Deadline,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        most: int = MAX_BODY,
    ) -> tuple[Any, Answer]:
        """Make one attempt; return the JSON of the answer, and the answer."""
        self._breaker.refuse_if_open()

        def exchange() -> Answer:
            return self._transport.exchange(
                call.method,
                call.path,
                credential=credential,
                deadline=deadline,
                body=body,
                query=query,
                most=most,
            )

        with self._bulkhead.place(deadline):
            probe = False if call.is_advice else self._breaker.enter()
            began = self._clock.monotonic()
            outcome = "given_up"  # unless it ends in another way
            try:
                answer = exchange() if call.is_advice else self._guarded(exchange, probe=probe)
                found = _json_of(call, answer)
                outcome = "ok"
            except errors.UpstreamError as error:
                outcome = error.code
                raise
            finally:
                if self._witness:
                    took = self._clock.monotonic() - began
                    self._witness.attempted(call.name, outcome, took)
        return found, answer

    def _guarded(self, exchange: Callable[[], Answer], *, probe: bool) -> Answer:
        try:
            answer = exchange()
        except (errors.AnamUnavailable, errors.AnamTimeout):
            self._breaker.failed(probe=probe)
            raise
        except BaseException:
            self._breaker.given_up(probe=probe)
            raise
        if answer.status >= 500:
            self._breaker.failed(probe=probe)
        else:
            self._breaker.worked()
        return answer

    def _wait_before_retry(
        self, error: errors.UpstreamError, attempt: int, deadline: Deadline
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        last = attempt + 1 >= self._max_attempts
        once = isinstance(error, errors.AnamBadResponse) and attempt >= 1
        if last or once or not error.retryable or isinstance(error, errors.Busy):
            return None
        wait = backoff(attempt) if error.hinted_wait is None else error.hinted_wait
        fits = wait <= min(CAP, deadline.left() - MIN_ATTEMPT)
        return wait if fits and self._budget.spend() else None


def _json_of(call: _Call, answer: Answer) -> Any:
    if not 200 <= answer.status < 300:
        raise error_for(answer)
    found = answer.json()
    if not call.is_good(found):
        raise errors.AnamBadResponse
    return found


def _is_json(found: Any) -> bool:
    return found is not None


def _is_object(found: Any) -> bool:
    return isinstance(found, dict)


def _has_session_id(found: Any) -> bool:
    session_id = found.get("sessionId") if isinstance(found, dict) else None
    return isinstance(session_id, str) and bool(session_id)


def _has_token(found: Any) -> bool:
    value = found.get("sessionToken") if isinstance(found, dict) else None
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and value.isascii()


def error_for(answer: Answer) -> errors.UpstreamError:
    """Return the error that an answer other than success means.

    Of Anam's own text only the kinds of 429 are looked at; none of it is passed on, since it may
    quote the request.
    """
    status = answer.status
    if 300 <= status < 400:
        text = (
            f"Anam answered with a redirect ({status}), which is not followed. Check ANAM_BASE_URL."
        )
        return errors.AnamBadResponse(text, retryable=False)
    if status in {401, 403}:
        return errors.AnamAuthError(f"Anam refused this server's API key ({status}).")
    if status == 402:
        return errors.AnamQuotaError("Anam refused: the account has no plan for this (402).")
    hint = wait_hint(answer.headers)
    if status == 429:
        kind = _kind_of_429(answer)
        if kind:
            return errors.AnamQuotaError(f"Anam refused: {kind} (429).")
        return errors.AnamRateLimited(hinted_wait=hint)
    if status in {408, 425} or status >= 500:
        return errors.AnamUnavailable(
            f"Anam is not available ({status}). Try again in a moment.", hinted_wait=hint
        )
    refused = errors.AnamRejected(
        f"Anam refused the request for this persona ({status}). Run `flask anam check`."
    )
    refused.persona_missing = status == 404 or "persona not found" in _told(answer)
    return refused


def _kind_of_429(answer: Answer) -> str | None:
    """Return which limit of the account is reached, or None for the rate of our calls.

    The texts are the ones Anam's SDKs compare with.
    """
    text = _told(answer)
    for words in ("concurrent session limit", "spend cap", "usage limit"):
        if words in text:
            return f"{words} reached"
    return None


def _told(answer: Answer) -> str:
    """Return Anam's own words in lower case, to be compared and never passed on."""
    found = answer.json()
    if not isinstance(found, dict):
        return ""
    return f"{found.get('error', '')} {found.get('message', '')}".lower()


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
