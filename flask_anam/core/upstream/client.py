"""API client: the calls to Anam, with bulkhead, circuit breaker, deadline and retries.

Paths and fields are those of Anam's OpenAPI (July 2026) and of its SDKs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from flask_anam import errors
from flask_anam.core.clock import Clock, Deadline
from flask_anam.core.metrics.recorder import MetricsRecorder
from flask_anam.core.redaction import scrubs_traceback
from flask_anam.core.tokens.token import SessionToken, read_claims
from flask_anam.core.upstream import responses
from flask_anam.core.upstream.bulkhead import Bulkhead
from flask_anam.core.upstream.circuit_breaker import BodyBreakers, CircuitBreaker, Origin
from flask_anam.core.upstream.retries import (
    BACKOFF_CAP,
    MIN_ATTEMPT_TIME,
    RetryBudget,
    backoff,
    http_date,
)
from flask_anam.core.upstream.transport import MAX_BODY, Answer, Transport

log = logging.getLogger("flask_anam")

LEGACY_CURE = (
    'Anam minted a token of type "legacy", which its SDKs refuse. Give the persona an llmId, and '
    "use personaId alone, without inline fields beside it."
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation of the API.

    Attributes:
        name: its label in metrics.
        method, path: of the request.
        is_good: whether the JSON of a 2xx answer (None when it is not JSON) holds what is needed.
        is_advice: whether its failures say nothing about Anam's health.

    """

    name: str
    method: str
    path: str
    is_good: Callable[[Any], bool] = lambda _: True
    is_advice: bool = False


class AnamClient:
    """Client of the Anam API. Thread-safe and safe after fork; each call names its API key.

    Args:
        transport: sends the requests.
        clock: time.
        max_attempts: attempts per mint in all, 1 or more.
        max_in_flight: calls under way at a time in this process.
        observer: counts each attempt, and how long it takes.

    """

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        max_attempts: int,
        max_in_flight: int,
        observer: MetricsRecorder,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._max_attempts = max_attempts
        self._observer = observer
        self._bulkhead = Bulkhead(max_in_flight)
        self._breaker = CircuitBreaker(clock)
        self._body_breakers = BodyBreakers(clock)
        self._budget = RetryBudget()

    @scrubs_traceback
    def mint(
        self,
        body: Mapping[str, Any],
        api_key: str,
        deadline: Deadline,
        origin: Origin | None = None,
    ) -> tuple[SessionToken, int]:
        """Mint a session token; errors that may pass are retried before the deadline.

        Returns the token, and how many attempts it took.

        Args:
            body: what is sent.
            api_key: of the account.
            deadline: of the request.
            origin: whose mint it is, so that a status of 500 is not held against others.

        Raises:
            UpstreamError: Anam refused, failed, or could not be reached within the deadline.

        """
        for attempt in range(self._max_attempts):
            try:
                token = self._mint_once(body, api_key, deadline, origin)
            except errors.UpstreamError as error:
                wait = self._wait_before_retry(error, attempt, deadline)
                if wait is None:
                    raise
            else:
                self._budget.release(retried=attempt > 0)
                return token, attempt + 1
            self._clock.sleep(wait)
            self._observer.on_retry()
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    @scrubs_traceback
    def start_session(self, session_token: str, deadline: Deadline) -> str:
        """Start a session, which may use the session token up; return the session id."""
        start = _Operation("start", "POST", "/v1/engine/session", responses.has_session_id)
        body = {"clientMetadata": {"client": "flask-anam"}}
        document, _ = self._call(start, session_token, deadline, body=body)
        return str(document["sessionId"])

    @scrubs_traceback
    def stop_session(self, session_id: str, api_key: str, deadline: Deadline) -> None:
        """Stop a session."""
        stop = _Operation("stop", "POST", f"/v1/sessions/{quote(session_id, safe='')}/stop")
        self._call(stop, api_key, deadline, body={})

    @scrubs_traceback
    def get(
        self,
        path: str,
        api_key: str,
        deadline: Deadline,
        query: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_BODY,
    ) -> Any:
        """Return the JSON of a GET whose body has at most `max_bytes` bytes.

        Raises:
            UpstreamError: it did not succeed, or the body is longer or not JSON.

        """
        read = _Operation("read", "GET", path, responses.is_json)
        document, _ = self._call(read, api_key, deadline, query=query, max_bytes=max_bytes)
        return document

    @scrubs_traceback
    def concurrency(self, api_key: str, deadline: Deadline) -> dict[str, Any]:
        """Return Anam's advisory view of how many sessions run and may run.

        A failure says nothing about mints, and does not count for the circuit breaker.
        """
        path = "/v1/sessions/concurrency"
        read = _Operation("concurrency", "GET", path, responses.is_object, is_advice=True)
        document, _ = self._call(read, api_key, deadline)
        return dict(document)

    def close(self) -> None:
        """Close the connections of this process."""
        self._transport.close()

    def _mint_once(
        self, body: Mapping[str, Any], api_key: str, deadline: Deadline, origin: Origin | None
    ) -> SessionToken:
        asked_at = self._clock.time()
        mint = _Operation("mint", "POST", "/v1/auth/session-token", responses.has_session_token)
        document, answer = self._call(mint, api_key, deadline, body=dict(body), origin=origin)
        value = document["sessionToken"]
        claims = read_claims(value)
        if claims is None:
            log.warning("Anam's session token is not a JWT; it is taken to last one hour.")
        elif claims.type == "legacy":
            raise errors.AnamRejected(LEGACY_CURE)
        tells_issue = claims is not None and claims.issued_at is not None
        issuer_now = None if tells_issue else http_date(answer.headers.get("Date", ""))
        return SessionToken.minted(value, claims, asked_at=asked_at, issuer_now=issuer_now)

    def _call(
        self,
        operation: _Operation,
        credential: str,
        deadline: Deadline,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BODY,
        origin: Origin | None = None,
    ) -> tuple[Any, Answer]:
        """Make one attempt; return the JSON of the answer, and the answer."""
        self._breaker.raise_if_open()
        self._body_breakers.raise_if_open(origin)
        exchange = partial(
            self._transport.exchange,
            operation.method,
            operation.path,
            credential=credential,
            deadline=deadline,
            body=body,
            query=query,
            max_bytes=max_bytes,
        )
        with self._bulkhead.acquire(deadline):
            probe = False if operation.is_advice else self._breaker.enter(deadline, origin)
            began = self._clock.monotonic()
            outcome = "given_up"  # unless it ends in another way
            try:
                answer = (
                    exchange()
                    if operation.is_advice
                    else self._guarded(exchange, probe, origin, deadline)
                )
                document = _json_of(operation, answer)
                outcome = "ok"
            except errors.UpstreamError as error:
                outcome = error.code
                raise
            finally:
                seconds = self._clock.monotonic() - began
                self._observer.on_attempt(operation.name, outcome, seconds)
        return document, answer

    def _guarded(
        self,
        exchange: Callable[[], Answer],
        probe: bool,
        origin: Origin | None,
        deadline: Deadline,
    ) -> Answer:
        """Make an exchange and record its result in the circuit breakers."""
        try:
            probes_body = self._body_breakers.enter(origin, deadline)
        except errors.AnamUnavailable:
            self._breaker.record_abandoned(probe=probe)
            raise
        try:
            answer = exchange()
        except BaseException as error:
            self._body_breakers.record_abandoned(origin, probe=probes_body)
            if isinstance(error, errors.AnamUnavailable | errors.AnamTimeout):
                self._breaker.record_failure(probe=probe)
            else:
                self._breaker.record_abandoned(probe=probe)
            raise
        if answer.status == 500:
            self._breaker.record_failure(probe=probe, origin=origin)
            self._body_breakers.record_failure(origin, probe=probes_body)
        elif answer.status > 500:
            self._breaker.record_failure(probe=probe)
            self._body_breakers.record_abandoned(origin, probe=probes_body)
        else:
            self._breaker.record_success()
            self._body_breakers.record_success(origin)
        return answer

    def _wait_before_retry(
        self, error: errors.UpstreamError, attempt: int, deadline: Deadline
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None when there is none."""
        is_last = attempt + 1 >= self._max_attempts
        # A response that makes no sense is retried only once.
        is_second_bad = isinstance(error, errors.AnamBadResponse) and attempt >= 1
        if is_last or is_second_bad or not error.retryable or isinstance(error, errors.Busy):
            return None
        wait = backoff(attempt) if error.hinted_wait is None else error.hinted_wait
        fits = wait <= min(BACKOFF_CAP, deadline.left() - MIN_ATTEMPT_TIME)
        return wait if fits and self._budget.acquire() else None


def _json_of(operation: _Operation, answer: Answer) -> Any:
    """Return the JSON of an answer; raises the UpstreamError that any other answer means."""
    if not 200 <= answer.status < 300:
        raise responses.error_for(answer)
    document = answer.json()
    if not operation.is_good(document):
        raise errors.AnamBadResponse
    return document
