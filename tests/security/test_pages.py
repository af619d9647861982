"""The pages of the example app show no key and no prompt, to anybody, right or wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hosts import KEY

from flask_anam.sandbox import Sandbox

pytestmark = pytest.mark.source


@pytest.fixture
def example(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Return the example app with a key, as if the sandbox were Anam."""
    from example_app import create_app  # not there when an installed wheel is tested

    monkeypatch.delenv("SECRET_KEY", raising=False)
    return create_app(
        {
            "SECRET_KEY": "SENTINEL-app-secret-key-77aa",
            "ANAM_SANDBOX": False,
            "ANAM_API_KEY": KEY,
            "ANAM_BASE_URL": sandbox.url,
        }
    )


def crawled(client: FlaskClient) -> Iterator[tuple[str, str]]:
    """Yield path and text of each page and file that can be reached from the home page."""
    seen, left = set[str](), ["/", "/login", "/dashboard", "/nothing", "/talk/nobody"]
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path, buffered=True)
        kind = answer.mimetype or ""
        if kind.startswith("text/") or "json" in kind:
            yield path, answer.text
        if kind == "text/html":
            left += re.findall(r"""(?:href|src|action)="(/[^"#]*)""", answer.text)


@pytest.mark.slow
@pytest.mark.parametrize("who", [None, ("ada", "lovelace"), ("bob", "builder")])
def test_no_page_shows_a_secret(
    example: Flask, sandbox: Sandbox, who: tuple[str, str] | None
) -> None:
    """Every page and file that a visitor, a user with and one without permission can reach."""
    client = example.test_client()
    if who:
        form = dict(zip(("name", "password"), who, strict=True))
        assert client.post("/login", data=form).status_code == 302
    for persona in ("support", "guide", "coach"):
        client.post("/api/session-token", json={"personaType": persona})
    tokens = [str(mint.token_id) for mint in sandbox.ledger.mints]
    assert bool(tokens) is (who is not None and who[0] == "ada")
    prompts = [str(mint.persona_config["systemPrompt"])[:40] for mint in sandbox.ledger.mints]
    secrets = [KEY, "SENTINEL-app-secret-key", "eyJhbGciOi", *prompts]
    pages = dict(crawled(client))
    assert len(pages) >= 4
    for path, text in pages.items():
        for secret in secrets:
            assert secret not in text, path
