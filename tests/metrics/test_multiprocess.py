"""Prometheus with several processes, and without the extra."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from hosts import TOKEN_PATH

from flask_anam.sandbox import Sandbox

from .scraping import PROMETHEUS_2, Values, docs_block, total, value, values


def run_script(script: str, **env: str) -> str:
    """Run a script in a fresh interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT = """
    import sys
    if {missing}:
        sys.modules["prometheus_client"] = None
    from hosts import ADA, client_of, make_app
    from flask_anam.sandbox import Sandbox
    with Sandbox() as sandbox:
        ada = client_of(make_app(sandbox), ADA)
        assert ada.get("/anam/metrics").get_json()["tokensCreated"] == 0
        print("prometheus_client" in sys.modules and not {missing})
        print(ada.get("/anam/metrics?format=prometheus").text)
"""


@pytest.mark.slow
def test_without_the_extra_the_answer_says_what_to_install(tmp_path: Path) -> None:
    """JSON goes on working, also where a folder is set; the text is a clear error."""
    for env in ({}, {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}):
        _, _, answer = run_script(WITHOUT.format(missing=True), **env).partition("\n")
        error = json.loads(answer)
        assert error["code"] == "config_error"
        assert "pip install 'Flask-Anam[prometheus]'" in error["error"]


@pytest.mark.slow
def test_the_library_is_imported_only_when_it_is_used() -> None:
    """An app that is asked for JSON does not load it."""
    imported, _, text = run_script(WITHOUT.format(missing=False)).partition("\n")
    assert imported == "False"
    assert "anam_sessions_active" in text


TOGETHER = """
    import os
    from prometheus_client import CollectorRegistry, Counter, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
    from hosts import ADA, client_of, make_app
    from flask_anam import FlaskAnam
    from flask_anam.core.clock import Clock
    from flask_anam.core.metrics.recorder import MetricsRecorder
    from flask_anam.metrics.collector import open_shared_backend
    from flask_anam.sandbox import Sandbox

    shop, forum = (MetricsRecorder(open_shared_backend(name)) for name in ("shop", "forum"))
    Counter("host_views", "Of the host.").inc()

    def work(number):
        for _ in range(50):
            shop.handed_out("minted", "support", 0.3)
            forum.handed_out("reused", "support", 0.0)
        shop.session_started()
        if number:
            shop.session_ended(60.0)

    work(0)
    for number in (1, 2, 3):
        child = os.fork()
        if not child:
            work(number)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    for usage in (shop, forum):
        found = usage.metrics()
        names = "tokens_created", "tokens_reused", "sessions_started", "sessions_active"
        print(*(found[name] for name in names), found["sessions_ended"])
    print(shop.metrics()["token_seconds"]["minted"]["buckets"]["0.25"])
    print(shop.metrics()["token_seconds"]["minted"]["buckets"]["0.5"])
    anam = FlaskAnam()
    with Sandbox() as sandbox, make_app(sandbox, anam=anam).app_context():
        print(list(anam.prometheus_collector().collect()))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""


@pytest.mark.slow
def test_processes_and_apps_are_summed_up_rightly(tmp_path: Path) -> None:
    """Four processes, two apps: sums per app; the host's own collector sees the same, once."""
    output = run_script(TOGETHER, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    shop, forum, quick, slow, collected, text = output.split("\n", 5)
    assert (shop, forum) == ("200 0 4 1 3", "0 200 0 0 0")
    assert (quick, slow, collected) == ("0", "200", "[]")
    samples = values(text.replace("Multiprocess metric", "Multiprocess metric."))
    minted = {"outcome": "minted", "persona_type": "support"}
    assert value(samples, "anam_tokens_total", "shop", **minted) == 200
    assert value(samples, "anam_sessions_active", "shop") == 1
    assert value(samples, "anam_session_seconds_count", "shop") == 3


BROKEN = """
    import logging, os, shutil
    logging.basicConfig()
    from hosts import ADA, TOKEN_PATH, client_of, make_app
    from flask_anam.sandbox import Sandbox
    with Sandbox() as sandbox:
        app = make_app(sandbox)
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        for slot in "abc":
            answer = client_of(app, ADA).post(TOKEN_PATH, json={"slot": slot})
            print(answer.status_code)
        print(client_of(app, ADA).get("/anam/metrics").get_json()["tokensCreated"])
"""


def test_a_folder_that_is_gone_costs_no_token(tmp_path: Path) -> None:
    """Tokens are handed out; the counts are lost, which the log says."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    assert run_script(BROKEN, PROMETHEUS_MULTIPROC_DIR=str(folder)).split() == [*["200"] * 3, "0"]


HOST = """
    import os
    from flask import Flask, request
    from hosts import PERSONA, User
    from flask_anam import FlaskAnam

    app = Flask("host")
    app.config.update(
        SECRET_KEY="host secret",
        ANAM_API_KEY=os.environ["HOST_API_KEY"],
        ANAM_BASE_URL=os.environ["HOST_UPSTREAM"],
        ANAM_PERSONAS={"support": PERSONA},
    )
    anam = FlaskAnam()

    @anam.identity_loader
    def who():
        name = request.headers.get("X-User")
        return User(name, permissions=["anam:metrics"]) if name else None

    @app.after_request
    def sign(response):
        response.headers["X-Worker"] = str(os.getpid())
        return response

    anam.init_app(app)
"""


class Server:
    """A real gunicorn, and what it was asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0

    def ask(self, number: int) -> int:
        """Ask for a token of a new user; return the process id of the worker."""
        headers = {"X-User": f"user {number}"}
        url = self.url + TOKEN_PATH
        answer = requests.post(url, json={"slot": "tab"}, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return int(answer.headers["X-Worker"])

    def crowd(self, pool: ThreadPoolExecutor, enough: Any) -> set[int]:
        """Ask four at a time until enough workers have answered; return them."""
        workers: set[int] = set()
        for _ in range(300):  # a worker that is replaced takes a while
            numbers = range(self.asked, self.asked + 4)
            self.asked += len(numbers)
            workers |= set(pool.map(self.ask, numbers))
            if enough(workers):
                return workers
        raise AssertionError(f"only {workers} answered")

    def read(self) -> Values:
        """Return the counts as a scraper reads them."""
        headers = {"X-User": "prometheus", "Accept": PROMETHEUS_2}
        answer = requests.get(f"{self.url}/anam/metrics", headers=headers, timeout=60)
        return values(answer.text, answer.headers["Content-Type"])


@contextlib.contextmanager
def gunicorn(sandbox: Sandbox, folder: Path) -> Iterator[Server]:
    """Run gunicorn with two workers and the configuration of the docs; end it by its id."""
    (folder / "metrics").mkdir()
    (folder / "metered.py").write_text(textwrap.dedent(HOST))
    (folder / "gunicorn.conf.py").write_text(docs_block("child_exit"))
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "log").open("wb") as log:
        port, handle = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
        server = subprocess.Popen(
            [*command, "--bind", f"fd://{handle}", "--workers", "2", "metered:app"],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
                "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
                "HOST_API_KEY": sandbox.api_key,
                "HOST_UPSTREAM": sandbox.url,
            },
            stdout=log,
            stderr=log,
            pass_fds=[handle],
        )
        try:
            yield Server(f"http://127.0.0.1:{port}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


@pytest.mark.slow
@pytest.mark.source
def test_gunicorn_workers_are_summed_up_also_after_one_died(tmp_path: Path) -> None:
    """Whoever is asked tells of all; a killed worker's counts stay, and its successor's come."""
    with (
        Sandbox(latency=0.1) as sandbox,  # so that one worker alone cannot answer them all
        gunicorn(sandbox, tmp_path) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        first = server.crowd(pool, lambda workers: len(workers) == 2)
        for _ in range(4):
            assert total(server.read(), "anam_tokens_total") == server.asked
        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        then = server.crowd(pool, lambda workers: workers - first)
        assert killed not in then
        samples = server.read()
        assert total(samples, "anam_tokens_total") == server.asked == len(sandbox.ledger.mints)
        assert total(samples, "anam_upstream_attempt_seconds_count") == server.asked
        assert total(samples, "anam_token_seconds_count") == server.asked
        headers = {"X-User": "ada"}
        url = f"{server.url}/anam/metrics"
        assert (
            requests.get(url, headers=headers, timeout=60).json()["tokensCreated"] == server.asked
        )
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


@pytest.mark.slow
@pytest.mark.source
def test_the_command_sees_what_the_workers_count(sandbox: Sandbox, tmp_path: Path) -> None:
    """With the same folder, `flask anam metrics` tells the sums, and notes nothing."""
    with gunicorn(sandbox, tmp_path) as server, ThreadPoolExecutor(4) as pool:
        server.crowd(pool, bool)
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "metered", "anam", "metrics", "--json"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
                "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
                "HOST_API_KEY": sandbox.api_key,
                "HOST_UPSTREAM": sandbox.url,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert json.loads(done.stdout)["tokens_created"] == server.asked
    assert "this command only" not in done.stderr
