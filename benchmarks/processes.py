"""Processes started here, ended by their id, and what the kernel tells of them. Linux only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

ROOT = Path(__file__).parent.parent
#: Seconds in which a server must listen once started, and end once told to.
START_WITHIN, END_WITHIN = 120.0, 5.0
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(
    command: Sequence[str], port: int, env: Mapping[str, str], log: Path | None = None
) -> Iterator[int]:
    """Run a server that listens on a port; yield its process id, and end its whole group.

    Args:
        command: what starts it.
        port: where it will listen.
        env: variables, besides those of this process.
        log: a file that keeps its output.

    Raises:
        RuntimeError: it ended or does not listen; the text holds the end of its output.

    """
    with log.open("w+b") if log else TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            start_new_session=True,
        )
        try:
            until = time.monotonic() + START_WITHIN
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    told = output.read().decode(errors="replace")[-2000:]
                    raise RuntimeError(f"{' '.join(command)} does not serve:\n{told}")
                time.sleep(0.02)
            yield process.pid
        finally:
            _end(process)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: it leads a group of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    stats = {int(path.name): _stat(path) for path in _all()}
    parents = {child: stat[1] for child, stat in stats.items() if stat}
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if int(parent) == member]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and its descendants have used."""
    stats = [_stat(Path(f"/proc/{member}")) for member in family(pid)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats if stat) / _TICK


def memory(pid: int) -> list[float]:
    """Return the MB that each process of a family has in memory, largest first."""
    return sorted((rss(member) for member in family(pid)), reverse=True)


def rss(pid: int) -> float:
    """Return the MB of one process that are in memory."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _all() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _stat(path: Path) -> list[str]:
    """Return the fields of a stat file from the third on: state, parent and so on."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def redis_command(port: int) -> list[str]:
    """Return what starts a Redis that keeps nothing on disk.

    Raises:
        RuntimeError: there is none.

    """
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("redis-server is missing: apt-get install redis-server")
    return [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
