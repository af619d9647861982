"""HTTP transport: one exchange with Anam over `requests`, with safe defaults.

What `requests` does by default and must not happen here: ``.netrc`` replaces our Bearer key,
cookies are sent back, a redirect turns a POST into a GET, a forked child shares connections, a
slow body never meets the timeout, a body may be of any size.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.auth import AuthBase

from flask_anam import errors
from flask_anam.core.clock import Deadline
from flask_anam.core.forksafe import reset_after_fork
from flask_anam.core.upstream.http_timeouts import TimedAdapter

#: Upper bound of the body of an answer, in bytes.
MAX_BODY = 64 * 1024
#: Paths without dots, escapes or a query: an id from a browser must not change the target.
_PATH = re.compile("(?:/[A-Za-z0-9_-]+)+")


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP response of Anam; the body may hold a session token.

    Attributes:
        cut: whether the body broke off or was longer than allowed, so that it is empty.

    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cut: bool

    def json(self) -> Any:
        """Return the decoded JSON body, or None when it is not JSON."""
        try:
            return None if self.cut else json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _Bearer(AuthBase):
    """Bearer authentication; an auth object keeps `requests` from using a ``.netrc`` password."""

    def __init__(self, credential: str) -> None:
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._credential}"
        return request


class Transport:
    """HTTP transport with a connection pool. Thread-safe; a forked child opens its own pool.

    Args:
        base_url: scheme, host and path without a slash at the end.
        connect_timeout: seconds for a connection.
        read_timeout: seconds for one exchange once connected.
        pool_size: connections kept open.

    """

    def __init__(
        self, base_url: str, *, connect_timeout: float, read_timeout: float, pool_size: int
    ) -> None:
        self._base_url = base_url
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._pool_size = pool_size
        self.reinit_after_fork()
        reset_after_fork(self)

    def reinit_after_fork(self) -> None:
        """Drop the parent's session without closing it: its sockets are shared."""
        self._lock = threading.Lock()
        self._opened: requests.Session | None = None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        credential: str,
        deadline: Deadline,
        body: object = None,
        query: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BODY,
    ) -> Answer:
        """Send one request and return its answer, whatever its status. Follows no redirect.

        The body of an answer longer than `max_bytes` bytes is dropped.

        Raises:
            AnamUnavailable: no connection, or it broke before an answer.
            AnamTimeout: no complete answer in time.
            AnamRejected: the server's certificate cannot be trusted, or the path holds other
                characters than an id has.

        """
        if not _PATH.fullmatch(path):
            raise errors.AnamRejected("An id contains characters that no id of Anam has.")
        left = deadline.left()
        if left <= 0:
            raise errors.AnamTimeout
        timeout = urllib3.Timeout(
            total=left, connect=self._connect_timeout, read=self._read_timeout
        )
        try:
            response = self._session().request(
                method,
                self._base_url + path,
                params=dict(query) if query else None,
                data=None if body is None else json.dumps(body, allow_nan=False).encode(),
                headers={"Content-Type": "application/json"} if body is not None else None,
                auth=_Bearer(credential),
                timeout=timeout,  # type: ignore[arg-type]  # known to requests, not to its types
                allow_redirects=False,
                stream=True,
            )
            with response:
                content, cut = _read(response, max_bytes)
        except requests.exceptions.SSLError as exc:
            raise _tls_error(exc) from None
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            raise errors.AnamTimeout from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError):
            raise errors.AnamUnavailable from None
        return Answer(response.status_code, response.headers, content, cut)

    def close(self) -> None:
        """Close this process's connections."""
        session, self._opened = self._opened, None
        if session is not None:
            session.close()

    def _session(self) -> requests.Session:
        session = self._opened
        if session is None:
            with self._lock:  # or callers at once would open a pool of connections each
                session = self._opened = self._opened or self._new_session()
        return session

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers = requests.structures.CaseInsensitiveDict(
            {
                "User-Agent": "flask-anam",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            }
        )
        adapter = TimedAdapter(
            pool_connections=1, pool_maxsize=self._pool_size, max_retries=0, pool_block=False
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session


def _tls_error(exc: requests.exceptions.SSLError) -> errors.UpstreamError:
    """Return AnamRejected for an untrusted certificate, else AnamUnavailable."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return errors.AnamRejected(
                "Anam's certificate cannot be trusted. Check ANAM_BASE_URL and the CA bundle."
            )
        cause = cause.__context__
    return errors.AnamUnavailable()


def _read(response: requests.Response, max_bytes: int) -> tuple[bytes, bool]:
    """Return the body, and whether it broke off or exceeded the limit."""
    parts: list[bytes] = []
    size = 0
    while size <= max_bytes:
        try:
            part = response.raw.read1(16 * 1024)
        except urllib3.exceptions.ProtocolError:
            return b"", True
        if not part:
            return b"".join(parts), False
        parts.append(part)
        size += len(part)
    return b"", True
