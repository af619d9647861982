"""Answers of Anam: the error of each status, and what is no answer at all."""

from __future__ import annotations

from typing import Any

import pytest
from core.conftest import BODY, ClientMaker
from core.upstream.conftest import NONSENSE
from hosts import KEY, MINT

from flask_anam import errors
from flask_anam.core.clock import Deadline
from flask_anam.sandbox import Sandbox

ANSWERS: list[tuple[int, str, int]] = [
    (300, "anam_bad_response", 1),
    (301, "anam_bad_response", 1),
    (304, "anam_bad_response", 1),
    (307, "anam_bad_response", 1),
    (400, "anam_rejected", 1),
    (401, "anam_auth", 1),
    (402, "anam_quota", 1),
    (403, "anam_auth", 1),
    (404, "anam_rejected", 1),
    (408, "anam_unavailable", 3),
    (409, "anam_rejected", 1),
    (422, "anam_rejected", 1),
    (425, "anam_unavailable", 3),
    (429, "anam_rate_limited", 3),
    (500, "anam_unavailable", 3),
    (502, "anam_unavailable", 3),
    (503, "anam_unavailable", 3),
    (504, "anam_unavailable", 3),
    (599, "anam_unavailable", 3),
    (204, "anam_bad_response", 2),
]


@pytest.mark.parametrize(("status", "code", "calls"), ANSWERS, ids=[str(a[0]) for a in ANSWERS])
def test_each_status_has_its_error_and_its_count_of_calls(
    make_client: ClientMaker,
    sandbox: Sandbox,
    deadline: Deadline,
    status: int,
    code: str,
    calls: int,
) -> None:
    """Three attempts where that can help, one where it cannot; never a status of Anam's."""
    sandbox.fail_next(status, times=9)
    with pytest.raises(errors.UpstreamError) as caught:
        make_client().mint(BODY, KEY, deadline)
    assert caught.value.code == code
    assert caught.value.status in {502, 503}
    assert caught.value.retryable is (calls > 1)
    assert (caught.value.retry_after is not None) is (caught.value.status == 503)
    assert sandbox.ledger.count(MINT) == calls


@pytest.mark.parametrize(
    ("kind", "code", "calls"),
    [
        ("Concurrent session limit reached", "anam_quota", 1),
        ("Spend cap reached", "anam_quota", 1),
        ("Usage limit reached", "anam_quota", 1),
        ("Too many requests", "anam_rate_limited", 3),
    ],
)
def test_only_the_429_for_the_rate_is_tried_again(
    make_client: ClientMaker,
    sandbox: Sandbox,
    deadline: Deadline,
    kind: str,
    code: str,
    calls: int,
) -> None:
    """Plan limits do not go away by asking; an answer that is no object is the rate's."""
    sandbox.fail_next(429, json={"error": kind}, times=9)
    with pytest.raises(errors.UpstreamError) as caught:
        make_client().mint(BODY, KEY, deadline)
    assert (caught.value.code, sandbox.ledger.count(MINT)) == (code, calls)


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_a_senseless_answer_is_tried_once_more(
    make_client: ClientMaker, sandbox: Sandbox, deadline: Deadline, answer: dict[str, Any]
) -> None:
    """Then it is a bad response; one that comes right the second time is not seen."""
    sandbox.fail_next(200, **answer)
    assert make_client().mint(BODY, KEY, deadline)[1] == 2
    sandbox.ledger.clear()
    sandbox.fail_next(200, times=9, **answer)
    with pytest.raises(errors.AnamBadResponse):
        make_client().mint(BODY, KEY, deadline)
    assert sandbox.ledger.count(MINT) == 2
