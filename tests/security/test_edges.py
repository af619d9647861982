"""Small openings: a listed origin, a hidden file, a long header, a flood of reports, escapes."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from hosts import ADA, PERSONA, TOKEN_PATH, client_of, make_app
from werkzeug.serving import make_server

from flask_anam.core.personas.files import read_personas
from flask_anam.core.usage.csv_export import safe_cell
from flask_anam.sandbox import Sandbox

SHOP = "https://shop.example"


@pytest.mark.parametrize("path", ["/anam/metrics", "/anam/dashboard", "/anam/dashboard.csv"])
def test_an_origin_for_tokens_reads_no_figures(sandbox: Sandbox, path: str) -> None:
    """`ANAM_ALLOWED_ORIGINS` opens the routes of a conversation, not those of the owner."""
    app = make_app(sandbox, ANAM_ALLOWED_ORIGINS=[SHOP], ANAM_DASHBOARD=True)
    client = client_of(app, ADA)
    answer = client.get(path, headers={"Origin": SHOP})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site")
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = client.options(path, headers={"Origin": SHOP})
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = client.post(TOKEN_PATH, json={}, headers={"Origin": SHOP})
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP


def test_a_hidden_file_is_no_persona(tmp_path: Path) -> None:
    """An editor's or an archiver's copy of a persona is not live."""
    for name in ("coach.json", ".old-coach.json", ".#coach.toml"):
        (tmp_path / name).write_text(json.dumps(PERSONA))
    assert set(read_personas(str(tmp_path))) == {"coach"}


@pytest.mark.parametrize("digits", [21, 5000])
def test_a_length_of_thousands_of_digits_is_too_large(sandbox: Sandbox, digits: int) -> None:
    """On Werkzeug's own server, whose parser lets it through: 413, not 500."""
    app = make_app(sandbox)
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        head = f"POST {TOKEN_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {'9' * digits}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(head.encode())
            status = connection.recv(64).split()[1]
        assert status == b"413"
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/anam/sessions", "/anam/sessions/some-session/end"])
def test_reports_have_a_limit_of_their_own(sandbox: Sandbox, path: str) -> None:
    """A flood of reports writes no more than the request limit allows, and leaves tokens alone."""
    app = make_app(sandbox, ANAM_REQUEST_RATE_LIMIT="5 per hour")
    client = client_of(app, ADA)
    body = {"tokenId": "A" * 16, "sessionId": "some-session"}
    statuses = [client.post(path, json=body).status_code for _ in range(8)]
    assert statuses == 5 * [204] + 3 * [429]
    assert client.post(TOKEN_PATH, json={}).status_code == 200


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x9b1A", "\x07", "\x1b]0;title\x07"])
def test_no_cell_of_csv_moves_a_terminal(text: str) -> None:
    """Escapes become question marks; line breaks stay, as the text has them."""
    cell = str(safe_cell(text))
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in cell)
    assert safe_cell("two\nlines") == "two\nlines"
