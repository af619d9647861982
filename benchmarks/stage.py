"""Everything that runs during a measurement: Redis, the upstream, and contenders on them."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Self

import redis

from benchmarks.contenders import Contender
from benchmarks.load import Ask, ask_once, log_in
from benchmarks.processes import free_port, redis_command, server


@dataclass(slots=True, kw_only=True)
class Running:
    """A contender that serves.

    Attributes:
        cookies: of the users that have logged in, by user id.

    """

    contender: Contender
    port: int
    pid: int
    cookies: dict[str, str] = field(default_factory=dict, repr=False)

    def asks(self, users: Sequence[str], persona: str, slot: str | None = None) -> list[Ask]:
        """Return one request for each user."""
        body = {"personaType": persona} | ({"slot": slot} if slot else {})
        return [(self.cookies[user], json.dumps(body)) for user in users]


class Stage:
    """Starts what is needed and ends all of it; use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.redis_port, self.upstream_port = free_port(), free_port()

    def __enter__(self) -> Self:
        upstream = [sys.executable, "-m", "benchmarks.upstream", str(self.upstream_port)]
        self._stack.enter_context(server(redis_command(self.redis_port), self.redis_port, {}))
        self._stack.enter_context(server(upstream, self.upstream_port, {}))
        self.redis = redis.Redis(port=self.redis_port)
        self._folder = self._stack.enter_context(TemporaryDirectory())
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.close()
        self._stack.close()

    def start(self, contender: Contender, users: Sequence[str]) -> Running:
        """Start a contender, log users in, and see that it answers.

        Raises:
            RuntimeError: it does not answer as it should.

        """
        port = free_port()
        env = contender.env(port, self.upstream_port, self.redis_port, self._folder)
        pid = self._stack.enter_context(server(contender.command(port), port, env))
        running = Running(contender=contender, port=port, pid=pid, cookies=log_in(port, users))
        (ask,) = running.asks(users[:1], "persona-0", "first")
        status, answer = ask_once(port, ask)
        if status != 200 or not answer.get("sessionToken"):
            raise RuntimeError(f"{contender.name} answers {status}")
        return running

    def upstream(self, latency: float) -> int:
        """Set the seconds that a mint takes; return the calls since this was done last."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.upstream_port}/set",
            data=json.dumps({"latency": latency}).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(json.load(answer)["calls"])

    def redis_work(self) -> tuple[int, int]:
        """Return the commands that Redis has done, and how often it has read from a client."""
        stats = self.redis.info("stats")
        return int(stats["total_commands_processed"]), int(stats["total_reads_processed"])
