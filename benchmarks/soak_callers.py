"""How users ask during the soak: many connections at once, and somebody who looks at pages."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from benchmarks.soak_judge import BROKEN, HUNG, Page, Seen
from benchmarks.soak_users import Ask, Users
from flask_anam.sandbox.api.jwt import token_id

#: Seconds after which an answer counts as none; a token takes eight at most.
PATIENCE = 20.0
#: Requests of one connection; then another worker may get the next one.
PER_CONNECTION = 25
#: Seconds between two requests for a page of the host.
PAGE_EVERY = 0.05


class Load:
    """Sends what users ask, on some connections at once; keeps what came of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seen: list[Seen] = []
        #: Cleared while nobody is to ask.
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def ask(self, users: Users, number: int, connections: int) -> None:
        """Send so many requests."""
        left = iter(range(number))

        async def caller() -> None:
            line = _Line(self._port)
            for _ in left:
                await self.goes_on.wait()
                self.seen.append(await self._one(line, users))
            line.close()

        await asyncio.gather(*(caller() for _ in range(connections)))

    async def reached(self, number: int) -> None:
        """Wait until so many requests have been answered since the start."""
        while len(self.seen) < number:
            await asyncio.sleep(0.01)

    async def _one(self, line: _Line, users: Users) -> Seen:
        ask = users.next()
        began = time.time()
        status, headers, text = await line.exchange(ask, users.cookie(ask))
        told = _parsed(text)
        got = told.get("sessionToken", "") if ask.place and status == 200 else ""
        seen = Seen(
            operation=ask.operation,
            user=ask.user,
            began=began,
            ended=time.time(),
            status=status,
            code=str(told.get("code", "")),
            place=ask.place,
            got=token_id(got) if got else "",
            used=ask.used,
            only=ask.only,
            carries=frozenset(headers) | {f"body {name}" for name in told},
            worker=line.worker,
            opened=line.opened,
        )
        if got and told.get("tokenId") == seen.got:
            users.told(ask, seen.got, got)
        return seen


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class _Line:
    """One connection at a time: opened when needed, and anew after some requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0
        self.worker, self.opened = "", 0.0

    def close(self) -> None:
        """Close it."""
        if self._stream:
            self._stream[1].close()
        self._stream = None

    async def exchange(self, ask: Ask, cookie: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; `BROKEN` or `HUNG` when there is no answer."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._exchange(ask, cookie)
        except TimeoutError:
            self.close()
            return HUNG, {}, b""
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return BROKEN, {}, b""
        if self._left <= 0 or found[1].get("connection", "") == "close" or found[0] == 413:
            self.close()
        return found

    async def _exchange(self, ask: Ask, cookie: str) -> tuple[int, dict[str, str], bytes]:
        if self._stream is None:
            self.worker, self.opened, self._left = "", time.time(), PER_CONNECTION
            self._stream = await asyncio.open_connection("127.0.0.1", self._port)
        self._left -= 1
        reader, writer = self._stream
        sent = {"Host": f"127.0.0.1:{self._port}", **dict(ask.headers)}
        sent |= {"Cookie": cookie} if cookie else {}
        sent |= {"Content-Length": str(len(ask.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"{ask.method} {ask.path} HTTP/1.1\r\n{head}\r\n".encode() + ask.body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(answer[0].split(" ", 2)[1])
        pairs = (line.partition(":") for line in answer[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.worker = headers.get("x-worker", self.worker)
        return status, headers, body


@contextmanager
def page_visitor(port: int) -> Iterator[list[Page]]:
    """Ask for a page of the host all the time, from a process of its own.

    The list that is yielded is filled at the end.
    """
    pages: list[Page] = []
    context = get_context("spawn")
    here, there = context.Pipe()
    visitor = context.Process(target=_visit, args=(port, there))
    visitor.start()
    try:
        yield pages
        here.send("enough")
        pages += here.recv() if here.poll(2 * PATIENCE) else []
    finally:
        visitor.terminate()
        visitor.join()


def _visit(port: int, told: Any) -> None:
    pages = []
    while not told.poll(PAGE_EVERY):
        began = time.time()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/page")
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except TimeoutError:
            status = HUNG
        except (OSError, http.client.HTTPException):
            status = BROKEN
        finally:
            connection.close()
        pages.append(Page(began=began, ended=time.time(), status=status))
    told.send(pages)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Return the value below which a share of sorted values lies; 0 of none."""
    last = len(sorted_values) - 1
    return sorted_values[min(last, int(share * len(sorted_values)))] if last >= 0 else 0.0
