"""``python -m benchmarks.soak``: load and neglect, judged; ends with 1 when a promise is broken.

Four gunicorn workers (gthread, then gevent), Redis, and a sandbox where one call in six fails. At
first nothing else goes wrong; then Redis and a worker are killed with SIGKILL and come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import soak_anam, soak_judge
from benchmarks.apps.soak import OWN, TOKEN_LIMIT
from benchmarks.load import log_in
from benchmarks.processes import family, free_port, redis_command, rss, server
from benchmarks.soak_callers import Load, page_visitor, percentile
from benchmarks.soak_judge import BROKEN, HUNG, Evidence, Mint, Page, Seen
from benchmarks.soak_users import Users
from flask_anam.core.outage import OUTAGE_PAUSE

KEY = "sandbox-key-of-the-soak"
WORKER_CLASSES = ("gthread", "gevent")
#: Seconds in which a new worker must answer after one was killed.
BACK_WITHIN = 60.0
PARTS = ("warm-up", "calm", "trouble")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is done with each worker class.

    Attributes:
        requests: of the calm part, and as many of the one with trouble.
        warm_up: requests before the memory is looked at.
        users: of each part.
        connections: at once.
        workers: processes.
        growth: MB that a worker may grow after the warm-up.
        seconds: in which it must be done.

    """

    requests: int
    warm_up: int
    users: int
    connections: int = 32
    workers: int = 4
    growth: float
    seconds: float


FULL = Size(requests=30_000, warm_up=20_000, users=500, growth=5.0, seconds=400)
#: So few requests leave much of the warm-up to what follows it.
SHORT = Size(requests=1_000, warm_up=200, users=50, growth=20.0, seconds=150)


@dataclass(kw_only=True)
class Run:
    """What one run has found; times are Unix seconds.

    Attributes:
        began: of each part, and of the end.
        memory: MB of each worker by process id, before each part but the first, and at the end.
        evidence: what is judged.
        calls: that the sandbox got.
        faults: that it made, by kind.
        broken: promises that did not hold.

    """

    began: list[float] = field(default_factory=list)
    memory: list[dict[int, float]] = field(default_factory=list)
    evidence: Evidence
    calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


class _Redis:
    """A Redis that can be killed, and started anew on the same port with nothing in it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start it."""
        self._pid = self._stack.enter_context(server(redis_command(self.port), self.port, {}))

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self._pid, signal.SIGKILL)


def soak(worker_class: str, size: Size, seed: int = 1) -> Run:
    """Do all parts with one worker class, and judge what was seen.

    Raises:
        RuntimeError: something could not be started.
        TimeoutError: it took too long.

    """
    evidence = Evidence(seen=[], mints=[], documented={}, limit=TOKEN_LIMIT)
    run = Run(evidence=evidence)
    calls = size.warm_up + 2 * size.requests
    with TemporaryDirectory() as folder:
        log, ledger = Path(folder, "log"), Path(folder, "ledger")
        with ExitStack() as stack:
            redis, upstream, port = _Redis(stack), free_port(), free_port()
            facts = [str(upstream), str(calls), str(seed), str(ledger)]
            sandbox = [sys.executable, "-m", "benchmarks.soak_anam", *facts]
            stack.enter_context(server(sandbox, upstream, {"BENCH_KEY": KEY}))
            env = _env(upstream, redis.port, len(PARTS) * size.users)
            env["BENCH_RECORDS"] = f"sqlite:///{folder}/usage.sqlite"
            # Else glibc gives each thread a heap, and free memory of one is no use to another.
            env["MALLOC_ARENA_MAX"] = "2"
            command = _gunicorn(worker_class, port, size.workers)
            arbiter = stack.enter_context(server(command, port, env, log))
            evidence.documented = soak_judge.documented(_description(port))
            with page_visitor(port) as pages:
                work = _parts(run, size, seed, port, arbiter, redis)
                try:
                    asyncio.run(asyncio.wait_for(work, size.seconds))
                except TimeoutError:
                    raise TimeoutError(_how_far(run, size)) from None
            evidence.pages = pages
        _read_ledger(run, ledger, calls, seed)
        _read_log(run, log.read_text(errors="replace"))
    if not evidence.pages:
        run.broken.append("Nobody has looked at other routes.")
    run.broken += [*soak_judge.complaints(evidence), *_growth(run, size.growth)]
    return run


def _how_far(run: Run, size: Size) -> str:
    """Return what tells a slow machine from one that waits for something."""
    seen, part = run.evidence.seen, PARTS[max(0, len(run.began) - 1)]
    last = time.time() - seen[-1].ended if seen else size.seconds
    return (
        f"not done within {size.seconds:.0f} s: {len(seen)} requests, in the part {part!r}, "
        f"the last of them {last:.1f} s ago, {sum(one.status == HUNG for one in seen)} unanswered"
    )


def _env(upstream: int, redis: int, users: int) -> dict[str, str]:
    url = f"redis://127.0.0.1:{redis}/0"
    return {
        "BENCH_APP": "soak",
        "BENCH_KEY": KEY,
        "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "BENCH_CACHE": url,
        "BENCH_LIMITS": url,
        "BENCH_USERS": str(users),
    }


def _gunicorn(worker_class: str, port: int, workers: int) -> list[str]:
    # Connections are kept as long as the callers keep them: only a killed worker ends one.
    how = ["--worker-class", worker_class, "--keep-alive", "600", "--threads", "16"]
    where = ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--log-level", "error"]
    return [sys.executable, "-m", "gunicorn", *where, *how, "benchmarks.apps.wsgi:app"]


def _description(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/anam/openapi.json", timeout=60) as answer:
        return dict(json.load(answer))


async def _parts(run: Run, size: Size, seed: int, port: int, arbiter: int, redis: _Redis) -> None:
    load = Load(port)
    run.evidence.seen = load.seen
    for number, part in enumerate(PARTS):
        names = [f"user-{number * size.users + one}" for one in range(size.users)]
        users = Users(await asyncio.to_thread(log_in, port, names), seed + number)
        requests = size.warm_up if part == "warm-up" else size.requests
        run.began.append(time.time())
        async with asyncio.TaskGroup() as group:
            group.create_task(load.ask(users, requests, size.connections))
            if part == "trouble":
                group.create_task(_make_trouble(run, load, size, arbiter, redis))
        if part == "trouble":
            await _see_new_worker(run, load, users, size)
        run.memory.append({pid: rss(pid) for pid in family(arbiter)[1:]})
    run.began.append(time.time())


async def _make_trouble(run: Run, load: Load, size: Size, arbiter: int, redis: _Redis) -> None:
    """Kill Redis after a fifth of the requests, start it after two, kill a worker after four."""
    before = len(load.seen)
    fifths = [before + number * size.requests // 5 for number in range(6)]
    await load.reached(fifths[1])
    away = time.time()
    redis.kill()
    await load.reached(fifths[2])
    await asyncio.to_thread(redis.start)
    # Workers leave it alone for a while; what follows is to be seen with all of them back on it.
    until = time.time() + OUTAGE_PAUSE + 1
    run.evidence.outages = [(away, until)]
    await load.reached(fifths[3])
    load.goes_on.clear()
    await asyncio.sleep(max(0.0, until - time.time()))
    load.goes_on.set()
    await load.reached(fifths[4])
    victim = family(arbiter)[1]
    run.evidence.kills = [(time.time(), victim)]
    os.kill(victim, signal.SIGKILL)


async def _see_new_worker(run: Run, load: Load, users: Users, size: Size) -> None:
    """Go on until a worker has answered that was not there before one was killed."""
    ((killed, _),) = run.evidence.kills
    old = {one.worker for one in load.seen if one.began < killed}
    until = time.time() + BACK_WITHIN
    while not {one.worker for one in load.seen[-size.requests :]} - old - {""}:
        if time.time() > until:
            run.broken.append(f"No new worker has answered within {BACK_WITHIN:.0f} s.")
            return
        # At once, since idle workers let one of them have what comes one by one.
        await load.ask(users, 4 * size.connections, 4 * size.connections)


def _read_ledger(run: Run, ledger: Path, calls: int, seed: int) -> None:
    *mints, last = [json.loads(line) for line in ledger.read_text().splitlines()]
    run.evidence.mints = [_mint(**mint) for mint in mints]
    run.calls = last["calls"]
    run.faults = Counter(filter(None, soak_anam.order(calls, seed)[: run.calls]))
    run.evidence.lossy = sum(run.faults[kind] for kind in soak_anam.LOSSY)


def _mint(token_id: str, name: str, at: float) -> Mint:
    persona, _, user = name.partition(" of ")
    return Mint(token=token_id, persona=persona, user=user if persona in OWN else "", at=at)


def _read_log(run: Run, log: str) -> None:
    run.evidence.outages = [*run.evidence.outages, *soak_judge.outages(log)]
    if "Traceback" in log:
        run.broken.append(
            "A worker's log shows a traceback:\n" + log[log.index("Traceback") :][:2000]
        )
    if KEY in log:
        run.broken.append("A worker's log shows the API key.")


def _growth(run: Run, most: float) -> Iterator[str]:
    """Compare workers that lived through it all; the killed one and its successor did not."""
    first, last = run.memory[0], run.memory[-1]
    for pid in first.keys() & last.keys():
        if last[pid] - first[pid] > most:
            yield f"Worker {pid} grew by {last[pid] - first[pid]:.1f} MB; {most:.0f} are allowed."


def report(worker_class: str, run: Run) -> str:
    """Return what a run has found, in words."""
    evidence = run.evidence
    lines = [f"{worker_class}:"]
    for part, begin, end in zip(PARTS, run.began, run.began[1:], strict=False):
        seen = [one for one in evidence.seen if begin <= one.began < end]
        answers = Counter(_answer(one) for one in seen)
        took = [one.ended - one.began for one in seen]
        lines += [
            f"  {part}: {len(seen)} requests in {end - begin:.0f} s, {_times(took)}",
            "    " + ", ".join(f"{what}: {number}" for what, number in answers.most_common()),
            f"    other routes: {_pages([p for p in evidence.pages if begin <= p.began < end])}",
        ]
    got = {one.got for one in evidence.seen if one.got}
    lines.append(f"  calls to the sandbox: {run.calls}, of which {run.faults.total()} went wrong")
    lines.append("    " + ", ".join(f"{kind}: {count}" for kind, count in run.faults.items()))
    times = sum(bool(one.got) for one in evidence.seen)
    lines.append(
        f"  tokens: {len(evidence.mints)} made, {evidence.lossy} of them lost by faults; "
        f"{len(got)} handed out, {times} times in all"
    )
    (away, again), *others = evidence.outages
    alone = sum(begin > again or end < away for begin, end in others)
    lines.append(f"  Redis was killed, and all workers were back on it after {again - away:.1f} s")
    lines.append(f"  times a worker did without Redis while it was there: {alone}")
    for at, pid in evidence.kills:
        new = [one for one in evidence.seen if one.worker and int(one.worker) not in run.memory[0]]
        back = f"its successor answered {new[0].ended - at:.1f} s later" if new else "no successor"
        lines.append(f"  worker {pid} was killed; {back}")
    for pid, first in run.memory[0].items():
        told = [memory.get(pid) for memory in run.memory[1:]]
        rest = " ".join(
            "gone" if one is None else f"{one:.1f} ({one - first:+.1f})" for one in told
        )
        lines.append(f"  worker {pid}, MB after each part: {first:.1f} {rest}")
    lines += [f"  BROKEN: {text}" for text in run.broken[:20]]
    lines.append(f"  {len(run.broken)} promises broken" if run.broken else "  all promises kept")
    return "\n".join(lines)


def _answer(one: Seen) -> str:
    return {BROKEN: "lost with a worker", HUNG: "none"}.get(
        one.status, f"{one.status} {one.code}".strip()
    )


def _times(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    at = [percentile(ordered, share) * 1000 for share in (0.5, 0.99, 1)]
    return "p50 {:.0f} ms, p99 {:.0f} ms, longest {:.0f} ms".format(*at)


def _pages(pages: Sequence[Page]) -> str:
    return f"{len(pages)} asked for, {_times([page.ended - page.began for page in pages])}"


def main() -> int:
    """Soak each worker class, print what was found, and return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a small run, in about a minute")
    parser.add_argument("--only", choices=WORKER_CLASSES, help="one worker class alone")
    parser.add_argument("--seed", type=int, default=1, help="another order of requests and faults")
    told = parser.parse_args()
    size = SHORT if told.short else FULL
    begun, broken = time.monotonic(), 0
    for worker_class in [told.only] if told.only else WORKER_CLASSES:
        try:
            run = soak(worker_class, size, told.seed)
        except TimeoutError as late:
            print(f"{worker_class}: BROKEN: {late}")
            return 1
        print(report(worker_class, run), flush=True)
        broken += len(run.broken)
    print(f"{time.monotonic() - begun:.0f} s in all.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
