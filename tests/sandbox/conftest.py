"""Short ways to talk to a sandbox over HTTP."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from flask_anam.sandbox import Sandbox


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """Give an HTTP client that keeps connections and reads nothing from the environment."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def call(sandbox: Sandbox, http: requests.Session) -> Callable[..., requests.Response]:
    """Send a request with the API key, or with `token`, to the sandbox or to another one."""

    def send(
        method: str,
        path: str,
        *,
        at: Sandbox | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **others: Any,
    ) -> requests.Response:
        target = at or sandbox
        all_headers = {"Authorization": f"Bearer {token or target.api_key}", **(headers or {})}
        return http.request(method, target.url + path, headers=all_headers, timeout=10, **others)

    return send


@pytest.fixture
def mint(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Ask for a session token with a body, by default for the stored persona."""

    def ask(body: Any = None, **others: Any) -> requests.Response:
        default = {"personaConfig": {"personaId": "any"}}
        return call("POST", "/v1/auth/session-token", json=body or default, **others)

    return ask


@pytest.fixture
def start(call: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """Start a session with a token."""

    def begin(token: str, body: Any = None, **others: Any) -> requests.Response:
        return call("POST", "/v1/engine/session", token=token, json=body or {}, **others)

    return begin
