"""Every refusal and every end that Anam's SDKs tell apart can be had from the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from anam import AnamClient, ClientOptions
from anam.errors import AnamError
from media.conftest import RELEASES, run
from playwright.sync_api import Page
from sandbox.clients import QUIET

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.api import catalog

_START = "/v1/engine/session"
_MINT = "/v1/auth/session-token"

_TRY = """async ([make, credential, baseUrl, persona]) => {
  const options = { api: { baseUrl, retry: { initialBackoffMs: 1 } }, disableInputAudio: true };
  window.ends = [];
  try {
    const client = anam[make](credential, ...(persona ? [persona] : []), options);
    client.addListener(anam.AnamEvent.CONNECTION_CLOSED, (code) => ends.push(code));
    await client.streamToVideoElement("persona");
    return null;
  } catch (error) {
    return [error.code.replace("CLIENT_ERROR_CODE_", ""), error.statusCode, error.details.cause];
  }
}"""


@dataclass(frozen=True)
class Refusal:
    """How to get one, and what the SDKs make of it: in JavaScript, and in Python."""

    arrange: Callable[[Sandbox], None]
    status: int
    javascript: str
    python: str
    #: Seconds from a token's birth to its end.
    lifetime: int = 3600


def _failing(status: int) -> Callable[[Sandbox], None]:
    # As often as the newest SDK tries, when it does.
    return lambda sandbox: sandbox.fail_next(status, path=_START, times=3 if status >= 500 else 1)


def _refusing(kind: Any) -> Callable[[Sandbox], None]:
    return lambda sandbox: sandbox.refuse_sessions(kind)


def _nothing(_: Sandbox) -> None:
    pass


_REFUSALS = {
    "invalid": Refusal(_failing(400), 400, "VALIDATION_ERROR", "validation_error"),
    "expired": Refusal(_nothing, 401, "AUTHENTICATION_ERROR", "authentication_error", -1),
    "no-plan": Refusal(_failing(402), 402, "NO_PLAN_FOUND", "no_plan_found"),
    "forbidden": Refusal(_failing(403), 403, "AUTHENTICATION_ERROR", "authentication_error"),
    "not-found": Refusal(_failing(404), 404, "SERVER_ERROR", "server_error"),
    "concurrency": Refusal(
        _refusing("concurrency"),
        429,
        "MAX_CONCURRENT_SESSIONS_REACHED",
        "concurrent_session_limit",
    ),
    "spend": Refusal(_refusing("spend"), 429, "SPEND_CAP_REACHED", "spend_cap_reached"),
    "usage": Refusal(_refusing("usage"), 429, "USAGE_LIMIT_REACHED", "usage_limit_reached"),
    "rate": Refusal(_refusing("rate"), 429, "USAGE_LIMIT_REACHED", "usage_limit_reached"),
    "broken": Refusal(_failing(500), 500, "SERVER_ERROR", "server_error"),
    "busy": Refusal(_failing(503), 503, "SERVICE_BUSY", "service_busy"),
}


@pytest.mark.browser
@pytest.mark.parametrize("release", list(RELEASES))
def test_the_javascript_sdk_tells_every_refusal_of_a_session_apart(
    make_sandbox: Callable[..., Sandbox], page: Page, page_url: str, release: str
) -> None:
    """Old releases and new ones: code, status, and our words as the cause."""
    page.goto(page_url + release)
    for name, refusal in _REFUSALS.items():
        sandbox = make_sandbox()
        token = sandbox.issue_token(QUIET, lifetime=refusal.lifetime)
        refusal.arrange(sandbox)
        result = page.evaluate(_TRY, ["createClient", token, sandbox.url, None])
        assert result, name
        code, status, cause = result
        assert code == refusal.javascript, name
        # Old releases say 500 for everything that they do not know.
        assert status in {refusal.status, 500 if code == "SERVER_ERROR" else None}, name
        assert cause, name
        sandbox.stop()


@pytest.mark.parametrize("name", list(_REFUSALS))
def test_the_python_sdk_tells_every_refusal_of_a_session_apart(sandbox: Sandbox, name: str) -> None:
    """By code and, where it has one, status."""
    refusal = _REFUSALS[name]
    token = sandbox.issue_token(QUIET, lifetime=refusal.lifetime)
    refusal.arrange(sandbox)

    async def work() -> AnamError:
        client = AnamClient(session_token=token, options=ClientOptions(api_base_url=sandbox.url))
        with pytest.raises(AnamError) as caught:
            await asyncio.wait_for(client.connect_async(), 10)
        return caught.value

    error = run(work())
    assert (error.code.value, error.status_code) == (refusal.python, refusal.status)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"single_use": True}, "authentication_error"),
        ({"concurrency_limit": 1}, "concurrent_session_limit"),
    ],
)
def test_used_tokens_and_full_houses_are_told_as_such(
    make_sandbox: Callable[..., Sandbox], settings: dict[str, Any], error: str
) -> None:
    """The refusals that come about by themselves look like those that are ordered."""
    sandbox = make_sandbox(**settings)
    token = sandbox.issue_token(QUIET)
    headers = {"Authorization": f"Bearer {token}"}
    requests.post(sandbox.url + _START, headers=headers, timeout=10).raise_for_status()
    second = token if "single_use" in settings else sandbox.issue_token(QUIET)

    async def work() -> str:
        client = AnamClient(session_token=second, options=ClientOptions(api_base_url=sandbox.url))
        with pytest.raises(AnamError) as caught:
            await asyncio.wait_for(client.connect_async(), 10)
        return str(caught.value.code.value)

    assert run(work()) == error


@pytest.mark.browser
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "AUTHENTICATION_ERROR"),
        (403, "AUTHENTICATION_ERROR"),
        (400, "VALIDATION_ERROR"),
        (429, "VALIDATION_ERROR"),
        (500, "SERVER_ERROR"),
    ],
)
def test_the_javascript_sdk_tells_refusals_of_a_token_apart(
    sandbox: Sandbox, page: Page, status: int, code: str
) -> None:
    """Where a page has the API key, which it should not, the SDK mints by itself."""
    sandbox.fail_next(status, path=_MINT)
    persona = {"personaId": catalog.PERSONA_ID}
    arguments = ["unsafe_createClientWithApiKey", sandbox.api_key, sandbox.url, persona]
    result = page.evaluate(_TRY, arguments)
    assert result[:2] == [code, status]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 503, "path": "/ws", "times": 6}, "SIGNALLING_CLIENT_CONNECTION_FAILURE"),
        ({"path": _START, "status": 200, "json": ...}, "WEBRTC_FAILURE"),
    ],
)
def test_the_javascript_sdk_tells_every_end_apart(
    sandbox: Sandbox, page: Page, fault: dict[str, Any], code: str
) -> None:
    """A WebSocket that is always refused, and a WebRTC connection that cannot be made.

    A normal end and one by the server are in test_javascript_sdk.py.
    """
    token = sandbox.issue_token(QUIET)
    if "json" in fault:
        headers = {"Authorization": f"Bearer {token}"}
        started = requests.post(sandbox.url + _START, headers=headers, timeout=10).json()
        del started["clientConfig"]["iceServers"]
        fault["json"] = started
    sandbox.fail_next(**fault)
    assert page.evaluate(_TRY, ["createClient", token, sandbox.url, None]) is None
    page.wait_for_function("ends.length > 0")
    assert page.evaluate("ends") == [f"CONNECTION_CLOSED_CODE_{code}"]
