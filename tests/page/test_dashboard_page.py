"""The dashboard in a real browser, with a day of 5,000 conversations: looks, phone, keyboard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from busy_day import NOW, PERSONAS, busy_days, fill
from flask import Flask
from flask_login import login_user
from hosts import ADA, BOB, PERSONA, make_host
from page.conftest import needed
from page.sites import SCREENSHOTS
from playwright.sync_api import FloatRect, Page, expect
from werkzeug.serving import make_server

from flask_anam import FlaskAnam
from flask_anam.testing import ManualClock

pytestmark = pytest.mark.browser

LOOKS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390), ("light", 320))
#: The parts of the pictures that the docs show.
IN_DOCS: dict[tuple[str, int], tuple[str, FloatRect]] = {
    ("light", 1280): ("dashboard.png", {"x": 0, "y": 0, "width": 1280, "height": 1340}),
    ("dark", 390): ("dashboard-phone.png", {"x": 0, "y": 1080, "width": 390, "height": 1180}),
}


def make_dashboard(folder: Path, **config: Any) -> Flask:
    """Return an app with a dashboard on a database in a folder, and a way to log in."""
    settings = {
        "ANAM_API_KEY": "none",
        "ANAM_PERSONAS": dict.fromkeys(PERSONAS, PERSONA),
        "ANAM_DASHBOARD": True,
        "ANAM_USAGE_URL": f"sqlite:///{folder}/usage.db",
        "ANAM_MINUTES_LIMIT": "80 per day",
        "ANAM_CONCURRENT_SESSIONS": 3,
    }
    app = make_host(ADA, BOB, **{**settings, **config})
    FlaskAnam(app, clock=ManualClock(NOW))

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(ADA if name == "ada" else BOB)
        return "<!doctype html><title>Hello</title>"

    return app


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on a free port of this machine; yield the address of its dashboard."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/anam/dashboard"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["anam"].recorder.store.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two busy days; the tests only look."""
    app = make_dashboard(tmp_path_factory.mktemp("busy"))
    fill(app.extensions["anam"].recorder.store, busy_days(days=2))
    with served(app) as url:
        yield url


def visit(page: Page, url: str, user: str = "ada") -> None:
    """Open an address of a dashboard as somebody who is logged in."""
    page.goto(url.partition("/anam/")[0] + f"/login/{user}")
    page.goto(url)


def look_at(page: Page, name: str) -> None:
    """See that axe finds nothing serious and nothing sticks out, in every look; keep pictures."""
    page.evaluate(needed("axe-core/axe.min.js").read_text())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    scheme: Any
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        report = page.evaluate("axe.run()")
        bad = [
            (
                violation["id"],
                [(node["html"], node["failureSummary"]) for node in violation["nodes"]],
            )
            for violation in report["violations"]
            if violation["impact"] in {"serious", "critical"}
        ]
        assert bad == [], f"{scheme} {width}"
        assert report["passes"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{width}.png", full_page=True)
        if name == "dashboard" and (scheme, width) in IN_DOCS:
            picture, part = IN_DOCS[scheme, width]
            page.screenshot(path=SCREENSHOTS / picture, full_page=True, clip=part)


def test_a_busy_day_in_every_look(page: Page, busy: str) -> None:
    """Charts, lists and tables, open ones too."""
    visit(page, busy)
    expect(page.get_by_role("img")).to_have_count(3)
    look_at(page, "dashboard")
    for summary in page.locator("summary").all():
        summary.click()
    expect(page.locator("details[open]")).to_have_count(3)
    look_at(page, "dashboard-tables")


@pytest.mark.parametrize(
    ("name", "query", "user", "says"),
    [
        ("empty", "", "ada", "press Start"),
        ("wrong", "?range=custom&since=x", "ada", "2026-07-14T09:30"),
        ("refused", "", "bob", "anam:metrics"),
    ],
)
def test_other_states_in_every_look(
    page: Page, tmp_path: Path, name: str, query: str, user: str, says: str
) -> None:
    """Nothing to show yet, a wrong question, and nobody who may ask."""
    with served(make_dashboard(tmp_path, ANAM_USAGE_URL="memory://")) as url:
        visit(page, url + query, user)
        expect(page.get_by_text(says)).to_be_visible()
        look_at(page, f"dashboard-{name}")


def test_text_keeps_its_size_on_a_phone(page: Page, busy: str) -> None:
    """Charts shrink, letters do not, and labels give way instead of running into each other."""
    boxes = """() => [...document.querySelectorAll(".field")].map((field) =>
      [...field.querySelectorAll("text")].map((text) => text.getBoundingClientRect())
        .filter((box) => box.width).map((box) => box.toJSON()))"""
    visit(page, busy)
    for query in ("range=day", "range=hour", "range=week", "range=month", "since=2025-07-20"):
        page.goto(f"{busy}?{query}")
        for width in (1280, 700, 390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            for chart in page.evaluate(boxes):
                below = sorted((b for b in chart if b["top"] > chart[0]["top"] - 5), key=_left)
                for label, following in pairwise(below):
                    assert label["right"] < following["left"], (width, query)
                assert all(11 < box["bottom"] - box["top"] < 20 for box in chart)
                assert all(box["left"] >= 0 and box["right"] <= width for box in chart)


def _left(box: dict[str, float]) -> float:
    return box["left"]


def test_filters_work_without_a_script(page: Page, busy: str) -> None:
    """A persona and a range are kept when the other is changed; the address says it all."""
    visit(page, busy)
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    page.get_by_role("combobox", name="Persona", exact=True).select_option("coach")
    page.get_by_role("combobox", name="Outcome of tokens").select_option("failed")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/dashboard?range=week&persona=coach&outcome=failed&since=&until=")
    expect(page.locator(".tile dt").first).to_have_text("Failed")
    page.get_by_label("From (UTC)").fill("2026-07-14T09:00")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".time")).to_contain_text(
        "Tue 14 Jul 2026, 09:00 to Tue 14 Jul 2026, 16:40"
    )
    expect(page.get_by_role("combobox", name="Persona", exact=True)).to_have_value("coach")
    expect(page.get_by_label("From (UTC)")).to_have_value("2026-07-14T09:00")


def test_everything_can_be_reached_by_keyboard(page: Page, busy: str) -> None:
    """Tab goes from the ranges over the filters to the tables, and Enter opens one."""
    visit(page, busy)
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.localName"))
        if seen[-1] == "summary":
            break
    assert {"a", "select", "input", "button", "summary"} <= set(seen)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Tokens, as a table")).to_be_visible()


def test_the_table_says_what_the_chart_says(page: Page, busy: str) -> None:
    """Each bar tells its numbers to who points at it; they are those of its row."""
    visit(page, busy)
    titles = page.locator("#c-tokens ~ .chart .bar title").all_text_contents()
    page.locator("#c-tokens ~ details summary").click()
    rows = [
        row.split("\t") for row in page.locator("#c-tokens ~ details tbody tr").all_inner_texts()
    ]
    assert len(titles) == len(rows) == 24
    for title, (step, *cells) in zip(titles, rows, strict=True):
        names = ("minted", "reused", "refused", "failed")
        texts = ", ".join(f"{n} {name}" for n, name in zip(cells, names, strict=True))
        assert title == f"{step}: {texts}"


def test_the_csv_is_a_download(page: Page, busy: str) -> None:
    """The link saves a file, with a line for each token of the day."""
    visit(page, busy)
    minted = page.locator(".tile").first.locator(".figure").inner_text().replace(",", "")
    with page.expect_download() as saved:
        page.get_by_role("link", name="sessions").click()
    assert saved.value.suggested_filename.startswith("anam-sessions-")
    assert len(saved.value.path().read_text().splitlines()) == int(minted) + 1
