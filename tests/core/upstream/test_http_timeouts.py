"""The read timeout and the deadline hold for a whole answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from core.upstream.conftest import Ask, connections, secure_get
from hosts import KEY

from flask_anam import errors
from flask_anam.sandbox import Sandbox


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"drip": 0.05}, id="dripped body"),
        pytest.param({"drip": 0.35}, id="slowly dripped body"),
        pytest.param({"drip_headers": 0.05}, id="dripped headers"),
        pytest.param({"silent": True}, id="silence"),
        pytest.param({"delay": 2.0}, id="late"),
    ],
)
@pytest.mark.parametrize("seconds", [8.0, 0.2], ids=["read timeout", "deadline"])
def test_a_slow_answer_is_aborted_in_time(
    ask: Ask, sandbox: Sandbox, fault: dict[str, Any], seconds: float
) -> None:
    """The read timeout, or the deadline where that is sooner, holds for the whole answer."""
    sandbox.fail_next(200, **fault)
    begun = time.monotonic()
    with pytest.raises(errors.AnamTimeout) as caught:
        ask(seconds)
    limit = min(seconds, 0.4)
    assert limit - 0.02 <= time.monotonic() - begun < limit + 0.6
    assert caught.value.__suppress_context__
    assert ask().status == 200
    assert connections(sandbox) == [1, 2]


def test_a_deadline_gone_by_makes_no_call(ask: Ask, sandbox: Sandbox) -> None:
    """Nothing is sent that nobody waits for."""
    with pytest.raises(errors.AnamTimeout):
        ask(0.0)
    assert sandbox.ledger.requests == ()


@pytest.mark.parametrize("read_timeout", [3.0, 0.2])
def test_tls_keeps_the_same_times(
    secure_server: tuple[str, Path, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    read_timeout: float,
) -> None:
    """A trusted server is read to the end, or to the read timeout."""
    url, cert, received = secure_server
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    if read_timeout > 1:
        assert secure_get(url, read_timeout).json() == {}
    else:
        with pytest.raises(errors.AnamTimeout):
            secure_get(url, read_timeout)
    assert f"Authorization: Bearer {KEY}".encode() in received[0]
