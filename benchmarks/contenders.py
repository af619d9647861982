"""Who is measured: an app, a server for it, and where it keeps tokens and counts limits."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.processes import ROOT

#: Processes of each contender, and connections that wait at most.
WORKERS, BACKLOG = 2, 1024
EXPRESS = ROOT / "benchmarks" / "express"
_WSGI = "benchmarks.apps.wsgi:app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the tables.

    Attributes:
        app: "floor", "ours", "by_hand" or "express".
        server: "gunicorn", "granian", "waitress" or "node".
        cache: where tokens are kept: "memory", "redis", or "" where there are none.
        limits: where limits are counted; the same words.
        records: where ours records sessions: "memory" or "sqlite".
        workers: processes that answer.
        threads: of each process.

    """

    app: str
    server: str
    cache: str = ""
    limits: str = ""
    records: str = "memory"
    workers: int = WORKERS
    threads: int = 8

    @property
    def name(self) -> str:
        """A short name for files and options."""
        stores = f"{self.cache or 'none'}-{self.limits or 'none'}-{self.records}"
        return f"{self.app}-{self.server}-{self.workers}x{self.threads}-{stores}"

    @property
    def label(self) -> str:
        """What the tables call it."""
        what = {
            "floor": "Flask-Login only",
            "ours": "Flask-Anam",
            "by_hand": "written by hand",
            "express": "Express",
        }[self.app]
        threads = "" if self.server == "node" else f" x {self.threads}"
        server = "gunicorn gthread" if self.server == "gunicorn" else self.server
        return f"{what}, {server} {self.workers}{threads}"

    @property
    def stores(self) -> str:
        """Where token and limit are, in words."""
        if not self.cache:
            return "none"
        more = ", sessions in SQLite" if self.records == "sqlite" else ""
        return f"token in {_said(self.cache)}, limit in {_said(self.limits)}{more}"

    def missing(self) -> str:
        """Return why it cannot be measured here, or nothing."""
        if self.server != "node":
            return "" if find_spec(self.server) else f"{self.server} is not installed"
        if not shutil.which("node"):
            return "node is not installed"
        return "" if (EXPRESS / "node_modules").is_dir() else "its npm packages are not installed"

    def command(self, port: int) -> list[str]:
        """Return what starts it on a loopback port."""
        python, workers, threads = sys.executable, str(self.workers), str(self.threads)
        if self.server == "gunicorn":
            options = ["--workers", workers, "--threads", threads, "--backlog", str(BACKLOG)]
            bind = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
            # Its default of two seconds would close connections between two rounds.
            return [python, "-m", "gunicorn", *bind, *options, "--keep-alive", "65", _WSGI]
        if self.server == "granian":
            options = ["--workers", workers, "--blocking-threads", threads, "--no-ws"]
            where = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
            quiet = ["--log-level", "warning", "--backlog", str(BACKLOG)]
            return [python, "-m", "granian", *where, *options, *quiet, _WSGI]
        if self.server == "waitress":
            options = [f"--threads={threads}", f"--listen=127.0.0.1:{port}"]
            return [python, "-m", "waitress", *options, f"--backlog={BACKLOG}", _WSGI]
        return ["node", str(EXPRESS / "server.js")]

    def env(self, port: int, upstream: int, redis: int, folder: str) -> dict[str, str]:
        """Return what its app reads from the environment; files go into a folder."""
        # A database for each, so that no contender finds what another has kept.
        url = f"redis://127.0.0.1:{redis}/0"
        return {
            "BENCH_APP": self.app,
            "BENCH_PORT": str(port),
            "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}",
            "BENCH_CACHE": url if self.cache == "redis" else "memory://",
            "BENCH_LIMITS": url if self.limits == "redis" else "memory://",
            "BENCH_RECORDS": f"sqlite:///{folder}/{self.name}.sqlite"
            if self.records == "sqlite"
            else "memory://",
            "BENCH_WORKERS": str(self.workers),
            "BENCH_THREADS": str(max(32, self.threads)),
        }


def _said(store: str) -> str:
    return {"memory": "memory", "redis": "Redis"}[store]


def _on(server: str, threads: int = 8) -> list[Contender]:
    """Return the floor and ours on a server, with each place for token and limit."""
    workers = 1 if server == "waitress" else WORKERS  # it has threads, and one process
    size = {"server": server, "workers": workers, "threads": threads}
    stores = [("memory", "memory"), ("memory", "redis"), ("redis", "redis")]
    ours = [Contender(app="ours", cache=c, limits=k, **size) for c, k in stores]  # type: ignore[arg-type]
    return [Contender(app="floor", **size), *ours]  # type: ignore[arg-type]


def reused(servers: Sequence[str]) -> list[Contender]:
    """Return who is measured on reused tokens, of those on some servers."""
    by_hand = [
        Contender(app="by_hand", server=server, cache=cache, limits="redis")
        for server in ("gunicorn", "granian")
        for cache in ("memory", "redis")
    ]
    express = [
        Contender(app="express", server="node", cache="memory", limits="redis", workers=n)
        for n in (1, WORKERS)
    ]
    found = [*_on("gunicorn"), *_on("granian"), *_on("waitress"), *by_hand, *express]
    return [contender for contender in found if contender.server in servers]


def herd(servers: Sequence[str]) -> list[Contender]:
    """Return who is measured on many calls at once; see `reused`."""
    wide = {"cache": "redis", "limits": "redis", "threads": 100}
    found = [
        Contender(app="ours", server="gunicorn", **{**wide, "threads": 8}),  # type: ignore[arg-type]
        Contender(app="ours", server="gunicorn", **wide),  # type: ignore[arg-type]
        Contender(app="ours", server="granian", **wide),  # type: ignore[arg-type]
        Contender(app="by_hand", server="gunicorn", **wide),  # type: ignore[arg-type]
        Contender(app="by_hand", server="granian", **wide),  # type: ignore[arg-type]
        Contender(app="express", server="node", cache="memory", limits="redis"),
    ]
    return [contender for contender in found if contender.server in servers]


def mixed(servers: Sequence[str]) -> list[Contender]:
    """Return who is measured on a mixed day: the same, and ours with records in a database."""
    wide = {"cache": "redis", "limits": "redis", "threads": 100}
    recorded = Contender(app="ours", server="granian", records="sqlite", **wide)  # type: ignore[arg-type]
    return herd(servers) + [recorded] * (recorded.server in servers)
