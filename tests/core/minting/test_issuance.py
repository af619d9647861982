"""The token as a browser gets it."""

from __future__ import annotations

from core.conftest import ManagerHarness


def test_an_issued_token_tells_all_but_shows_no_token(harness: ManagerHarness) -> None:
    """Times by our clock; repr hides the secret."""
    issued = harness.ask(slot="s")
    assert issued.expires_at == int(harness.clock.now) + 3600
    assert (issued.expires_in, issued.persona_type, issued.reused) == (3600, "support", False)
    assert issued.token_id == harness.sandbox.ledger.mints[0].token_id
    assert issued.session_token not in repr(issued)
