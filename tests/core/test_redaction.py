"""Redaction: what is left of an error, and of secret bytes.

`tests/security/test_unseen.py` shows the same on a whole app, for each place a secret passes.
"""

from __future__ import annotations

import logging
import traceback

import pytest

from flask_anam.core.redaction import SecretBytes, scrubs_traceback
from flask_anam.errors import AnamError, AnamUnavailable


@scrubs_traceback
def handle(secret: str, error: Exception | None) -> str:
    """Raise an error out of another one, or return."""
    if error is None:
        return "done"
    try:
        raise KeyError(secret)
    except KeyError:
        raise error  # noqa: B904 - the context is what must go


def test_a_result_passes_and_so_does_the_name() -> None:
    """The decorated function is called and documented as before."""
    assert handle("SENTINEL", None) == "done"
    assert (handle.__name__, handle.__doc__) == (
        "handle",
        "Raise an error out of another one, or return.",
    )


def test_an_error_of_ours_arrives_without_frames_and_context() -> None:
    """An equal error of its own; no frame of the function is in its traceback."""
    error = AnamUnavailable(hinted_wait=7)
    with pytest.raises(AnamError) as caught:
        handle("SENTINEL", error)
    assert caught.value is not error
    assert (str(caught.value), caught.value.retry_after) == (str(error), 7)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "handle" not in [frame.name for frame in traceback.extract_tb(caught.tb)]


def test_a_bug_is_logged_by_type_and_place(caplog: pytest.LogCaptureFixture) -> None:
    """It keeps its type; frames, cause and context are gone, and its text is not logged."""
    with (
        caplog.at_level(logging.ERROR, "flask_anam"),
        pytest.raises(ZeroDivisionError) as caught,
    ):
        handle("SENTINEL", ZeroDivisionError("SENTINEL"))
    assert "handle" not in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "ZeroDivisionError at test_redaction.py, line" in caplog.text
    assert "SENTINEL" not in caplog.text


def test_secret_bytes_show_their_length() -> None:
    """In `repr`, in `str` and inside a container; for the rest they are bytes."""
    secret = SecretBytes(b"SENTINEL")
    assert [repr(secret), str(secret), f"{[secret]}"] == ["<8 bytes>", "<8 bytes>", "[<8 bytes>]"]
    assert secret == b"SENTINEL"
