"""Prometheus reads the counters: in its own format, over all workers, on any registry."""

from __future__ import annotations

import contextlib
import json
import os
import re
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
from flask import Flask
from flask.testing import FlaskClient
from hosts import ADA, TOKEN_PATH, client_of, make_app
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from flask_anam import ConfigError, FlaskAnam
from flask_anam.sandbox import Sandbox
from flask_anam.testing import ManualClock

DOCS = Path(__file__).parent.parent.parent / "docs"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
    "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values(text: str, content_type: str = "text/plain") -> Values:
    """Return every sample of a text that Prometheus' own parser accepts."""
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    found: Values = {}
    for family in parse(text):
        assert family.type in {"counter", "gauge", "histogram"}
        assert family.documentation.endswith(".")
        for sample in family.samples:
            place = sample.name, frozenset(sample.labels.items())
            assert place not in found, f"{place} is there twice"
            found[place] = sample.value
    return found


def value(found: Values, name: str, app: str = "host", **labels: str) -> float:
    """Return one sample."""
    return found[name, frozenset({"flask_app": app, **labels}.items())]


def total(found: Values, name: str, app: str = "host") -> float:
    """Return the sum of a metric of an app over all labels."""
    own = ("flask_app", app)
    return sum(value for (one, labels), value in found.items() if one == name and own in labels)


def scrape(client: FlaskClient, accept: str, query: str = "") -> Values:
    """Return what a scraper with that Accept header gets."""
    answer = client.get(f"/anam/metrics{query}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return values(answer.text, answer.content_type)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (PROMETHEUS_2, "application/openmetrics-text"),
        (PROMETHEUS_3, "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("text/plain", "text/plain"),
        ("text/plain;version=0.0.4,*/*;q=0.1", "text/plain"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    ],
)
def test_a_scraper_gets_text_and_others_json(ada: FlaskClient, accept: str, kind: str) -> None:
    """As a Prometheus server asks by itself; browsers, fetch, axios and curl get JSON."""
    answer = ada.get("/anam/metrics", headers={"Accept": accept})
    assert answer.content_type.partition(";")[0] == kind
    if kind != "application/json":
        assert value(values(answer.text, kind), "anam_sessions_active") == 0


@pytest.mark.parametrize("version", ["abc", "1e999", "", "1.0.0;escaping=x"])
def test_a_version_that_makes_no_sense_is_no_error(ada: FlaskClient, version: str) -> None:
    """Whatever a scraper says that it understands, it gets text."""
    accept = f"application/openmetrics-text;version={version}"
    assert ada.get("/anam/metrics?format=prometheus", headers={"Accept": accept}).status_code == 200


def test_the_format_may_be_named(ada: FlaskClient) -> None:
    """?format= decides, whatever is accepted; an unknown one is refused with the choice."""
    assert value(scrape(ada, "*/*", "?format=prometheus"), "anam_upstream_retries_total") == 0
    asked = {"Accept": "text/plain"}
    assert ada.get("/anam/metrics?format=json", headers=asked).get_json()["tokensCreated"] == 0
    refused = ada.get("/anam/metrics?format=xml")
    assert (refused.status_code, refused.get_json()["details"]) == (
        422,
        {"format": ["Must be json or prometheus."]},
    )


def test_every_count_is_there(sandbox: Sandbox, clock: ManualClock) -> None:
    """Tokens, failures, refusals, attempts and sessions, with their labels; no zero is missing."""
    app = make_app(sandbox, clock=clock, ANAM_TOKEN_RATE_LIMIT="2 per hour")
    ada = client_of(app, ADA)
    sandbox.fail_next(503)
    token = ada.post(TOKEN_PATH, json={"slot": "a"}).get_json()
    for slot in ("a", "b", "c"):
        ada.post(TOKEN_PATH, json={"slot": slot})
    client_of(app).post(TOKEN_PATH, json={})
    ada.post("/anam/sessions", json={"tokenId": token["tokenId"], "sessionId": "s-1"})
    clock.move(42)
    ada.post("/anam/sessions/s-1/end")
    found = scrape(ada, PROMETHEUS_2)
    support = {"persona_type": "support"}
    for outcome, number in (("minted", 2), ("reused", 1)):
        assert value(found, "anam_tokens_total", outcome=outcome, **support) == number
        assert value(found, "anam_token_seconds_count", outcome=outcome) == number
    assert value(found, "anam_token_failures_total", code="rate_limited", **support) == 1
    for reason in ("token_limit", "unauthenticated"):
        assert value(found, "anam_tokens_refused_total", reason=reason) == 1
    attempts = "anam_upstream_attempt_seconds_count"
    assert value(found, attempts, call="mint", outcome="ok") == 2
    assert value(found, attempts, call="mint", outcome="anam_unavailable") == 1
    assert value(found, "anam_upstream_retries_total") == 1
    assert value(found, "anam_sessions_started_total") == 1
    assert value(found, "anam_sessions_ended_total") == 1
    assert value(found, "anam_sessions_active") == 0
    assert value(found, "anam_session_seconds_sum") == 42
    assert value(found, "anam_session_seconds_bucket", le="30.0") == 0
    assert value(found, "anam_session_seconds_bucket", le="60.0") == 1
    assert value(found, "anam_usage_records_lost_total") == 0


@pytest.mark.source
def test_every_metric_and_label_is_documented(ada: FlaskClient) -> None:
    """The page names them as Prometheus does."""
    ada.post(TOKEN_PATH, json={})
    page = (DOCS / "metrics.md").read_text()
    for name, labels in scrape(ada, "text/plain"):
        bare = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{bare}`" in page
        for label, _ in labels - {("le", "")}:
            assert label == "le" or f"`{label}`" in page


def test_metrics_still_need_their_permission(app: Flask) -> None:
    """The errors of the text are JSON, and for nobody it is another answer."""
    answer = client_of(app).get("/anam/metrics", headers={"Accept": PROMETHEUS_2})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthenticated")


def docs_block(word: str) -> str:
    """Return the Python block of the page that holds a word."""
    page = (DOCS / "metrics.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if word in block]
    return str(found)


@pytest.mark.source
def test_the_scraper_of_the_docs_comes_in(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its token it may read the metrics and nothing else; users are known as before."""
    monkeypatch.setenv("SCRAPE_TOKEN", "scrape-me")
    anam = FlaskAnam()
    exec(compile(docs_block("Scraper"), "metrics.md", "exec"), {"anam": anam})  # noqa: S102
    app = make_app(sandbox, anam=anam)
    client = client_of(app)
    headers = {"Accept": PROMETHEUS_3, "Authorization": "Bearer scrape-me"}
    assert client.get("/anam/metrics", headers=headers).status_code == 200
    refused = client.post(TOKEN_PATH, json={}, headers=headers)
    assert refused.get_json()["code"] == "permission_denied"
    for wrong in ("", "Bearer", "Bearer scrape-you", "Bearer ü"):
        headers["Authorization"] = wrong
        assert client.get("/anam/metrics", headers=headers).status_code == 401
    assert client_of(app, ADA).post(TOKEN_PATH, json={}).status_code == 200


def test_a_registry_of_the_host_shows_us_too(sandbox: Sandbox) -> None:
    """Two apps with two names on one registry; with one name they are refused."""
    anam = FlaskAnam()
    shop, forum = (make_app(sandbox, anam=anam) for _ in range(2))
    with pytest.raises(ConfigError, match="Two of these apps are called 'host'"):
        anam.prometheus_collector(shop, forum)
    shop.name, forum.name = "shop", "forum"
    registry = CollectorRegistry(auto_describe=True)
    registry.register(anam.prometheus_collector(shop, forum))
    for app, tokens in ((shop, 2), (forum, 1)):
        for _ in range(tokens):
            client_of(app, ADA).post(TOKEN_PATH, json={})
    found = values(generate_latest(registry).decode())
    minted = {"outcome": "minted", "persona_type": "support"}
    assert value(found, "anam_tokens_total", "shop", **minted) == 1
    assert total(found, "anam_tokens_total", "shop") == 2
    assert total(found, "anam_tokens_total", "forum") == 1
    with shop.app_context():
        assert [family.name for family in anam.prometheus_collector().collect()]


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


def test_without_the_extra_the_answer_says_what_to_install(tmp_path: Path) -> None:
    """JSON goes on working, also where a folder is set; the text is a clear error."""
    for env in ({}, {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}):
        _, _, answer = run_script(WITHOUT.format(missing=True), **env).partition("\n")
        error = json.loads(answer)
        assert error["code"] == "config_error"
        assert "pip install 'Flask-Anam[prometheus]'" in error["error"]


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


def test_processes_and_apps_are_summed_up_rightly(tmp_path: Path) -> None:
    """Four processes, two apps: sums per app; the host's own collector sees the same, once."""
    said = run_script(TOGETHER, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    shop, forum, quick, slow, collected, text = said.split("\n", 5)
    assert (shop, forum) == ("200 0 4 1 3", "0 200 0 0 0")
    assert (quick, slow, collected) == ("0", "200", "[]")
    found = values(text.replace("Multiprocess metric", "Multiprocess metric."))
    minted = {"outcome": "minted", "persona_type": "support"}
    assert value(found, "anam_tokens_total", "shop", **minted) == 200
    assert value(found, "anam_sessions_active", "shop") == 1
    assert value(found, "anam_session_seconds_count", "shop") == 3


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
        found = server.read()
        assert total(found, "anam_tokens_total") == server.asked == len(sandbox.ledger.mints)
        assert total(found, "anam_upstream_attempt_seconds_count") == server.asked
        assert total(found, "anam_token_seconds_count") == server.asked
        headers = {"X-User": "ada"}
        url = f"{server.url}/anam/metrics"
        assert (
            requests.get(url, headers=headers, timeout=60).json()["tokensCreated"] == server.asked
        )
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


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
    assert "this command alone" not in done.stderr
