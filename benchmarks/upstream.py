"""A stand-in for Anam that answers fast: one process, one thread, a latency that can be set.

The sandbox checks requests and keeps a ledger; at thousands of mints a second that would be what
is measured. This one reads a request, waits, and answers with a token of the usual length.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
import uuid

#: Characters of a token, about as long as Anam's.
TOKEN_LENGTH = 548


def make_token() -> str:
    """Return a new token: three parts, of which the middle one can be read."""
    now = int(time.time())
    claims = {"type": "ephemeral", "iat": now, "exp": now + 3600, "sessionId": str(uuid.uuid4())}
    parts = [_part({"alg": "HS256", "typ": "JWT"}), _part(claims)]
    signature = "s" * (TOKEN_LENGTH - 2 - len(parts[0]) - len(parts[1]))
    return ".".join([*parts, signature])


def _part(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class Upstream:
    """Counts the calls it gets. Belongs to one event loop."""

    def __init__(self) -> None:
        self.calls = 0
        self.latency = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                status, answer = await self._answer(head, body)
                text = json.dumps(answer).encode()
                head = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n" % status
                writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, body: bytes) -> tuple[int, dict[str, object]]:
        path = head.split(b" ", 2)[1]
        if path == b"/set":
            self.latency = float(json.loads(body)["latency"])
            calls, self.calls = self.calls, 0
            return 200, {"calls": calls}
        if path != b"/v1/auth/session-token":
            return 404, {"message": "Not found"}
        self.calls += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        return 200, {"sessionToken": make_token()}


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main(port: int) -> None:
    """Serve on a loopback port until the process is ended."""
    server = await asyncio.start_server(Upstream().serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
