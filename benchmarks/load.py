"""Callers: who logs in, who asks again and again, and a crowd that asks at once."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

PATH = "/api/session-token"
#: A line of a load: the cookie of a user, and the body of a request.
Ask = tuple[str, str]
_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a load has seen: seconds for the whole, milliseconds for one answer."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float


def log_in(port: int, users: Sequence[str]) -> dict[str, str]:
    """Return the cookie of each user.

    Raises:
        RuntimeError: one of them could not log in.

    """
    # It may listen before its workers have loaded the app.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    cookies = {}
    for user in users:
        connection.request("POST", f"/login/{user}")
        answer = connection.getresponse()
        answer.read()
        given = answer.headers.get_all("Set-Cookie") or []
        if answer.status != 200 or not given:
            raise RuntimeError(f"{user} could not log in: {answer.status}")
        cookies[user] = "; ".join(cookie.partition(";")[0] for cookie in given)
    connection.close()
    return cookies


def ask_once(port: int, ask: Ask) -> tuple[int, dict[str, object]]:
    """Send one request; return the status and what the answer holds."""
    cookie, body = ask
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Content-Type": "application/json"} | ({"Cookie": cookie} if cookie else {})
    connection.request("POST", PATH, body, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read() or b"{}") if answer.status == 200 else {}
    connection.close()
    return answer.status, found


def run(port: int, asks: Sequence[Ask], seconds: float, connections: int) -> Told:
    """Send these requests in turn for some seconds, as fast as they are answered."""
    if shutil.which("wrk") is None:
        return asyncio.run(_by_python(port, asks, seconds, connections))
    with NamedTemporaryFile("w", suffix=".txt") as lines:
        lines.write("".join(f"{cookie}\t{body}\n" for cookie, body in asks))
        lines.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT)]
        url = f"http://127.0.0.1:{port}"
        done = subprocess.run(
            [*command, "--timeout", "10s", url, "--", lines.name],
            check=True,
            capture_output=True,
            timeout=seconds + 30,
        )
    told: Told = Told(**json.loads(done.stdout.splitlines()[-1]))
    return told


async def _by_python(port: int, asks: Sequence[Ask], seconds: float, connections: int) -> Told:
    """Do what wrk does, slower: used where it is not installed."""
    lines = [_request(ask) for ask in asks]
    took: list[float] = []
    errors = 0
    begun = time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal errors
        stream = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) - begun < seconds:
            status = await _exchange(stream, lines[(number + len(took)) % len(lines)])
            took.append(time.perf_counter() - sent)
            errors += status != 200
        stream[1].close()

    await asyncio.gather(*(caller(number) for number in range(connections)))
    ordered = sorted(took)
    at = [ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99)]
    whole = time.perf_counter() - begun
    return Told(requests=len(took), seconds=whole, errors=errors, p50=at[0], p99=at[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What a crowd has seen: how many got a token, and seconds until the last answer."""

    answered: int
    last: float


def crowd(port: int, asks: Sequence[Ask]) -> Crowd:
    """Send all requests at the same moment, each on a connection of its own."""
    return asyncio.run(_crowd(port, asks))


async def _crowd(port: int, asks: Sequence[Ask]) -> Crowd:
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in asks]
    begun = time.perf_counter()
    pairs = zip(streams, asks, strict=True)
    answers = await asyncio.gather(*(_exchange(stream, _request(ask)) for stream, ask in pairs))
    last = time.perf_counter() - begun
    for _, writer in streams:
        writer.close()
    return Crowd(answered=answers.count(200), last=last)


def _request(ask: Ask) -> bytes:
    cookie, body = ask
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _exchange(
    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> int:
    """Send one request and read its answer; return the status."""
    reader, writer = stream
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return int(head.split(b" ", 2)[1])
