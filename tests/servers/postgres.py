"""A real PostgreSQL on a free loopback port, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

#: Seconds in which the server must answer once started.
START_WITHIN = 60.0


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None when it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if folders:
        return folders[-1].parent
    return Path(on_path).parent if on_path else None


class Postgres:
    """One server; every `database()` is new and empty. PostgreSQL refuses to run as root."""

    def __init__(self) -> None:
        folder = programs()
        assert folder is not None
        self._programs = folder
        self._home = Path(tempfile.mkdtemp(prefix="anam-postgres-"))
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            self._who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        data = str(self._home / "data")
        quick = ["--auth", "trust", "--username", "anam", "--no-sync", "--encoding", "UTF8"]
        subprocess.run(
            [str(self._programs / "initdb"), "--locale", "C", *quick, data],
            check=True,
            capture_output=True,
            cwd=self._home,
            **self._who,
        )
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(self._home / "data"), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._home,
            **self._who,
        )
        until = time.monotonic() + START_WITHIN
        while not self._answers():
            assert self._process.poll() is None, "postgres ended at once"
            assert time.monotonic() < until, "postgres does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a failing machine would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def database(self) -> str:
        """Return the URL of a new and empty place: a schema, since that is made in no time."""
        name = f"anam_{uuid.uuid4().hex}"
        with self._connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN")
            connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        return f"postgresql+psycopg://{name}@127.0.0.1:{self.port}/postgres"

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        url = f"postgresql://anam@127.0.0.1:{self.port}/postgres"
        return psycopg.connect(url, autocommit=True, connect_timeout=10)
