"""What one request costs with more personas and more users; in this process, without a server."""

from __future__ import annotations

from typing import Any

from benchmarks import instant
from benchmarks.apps import floor
from benchmarks.driver import Driver, compare, cookies_of
from flask_anam.core.cache.memory import MemoryCache

PERSONAS = (1, 10, 100, 1000)
#: Users that are not more than this are the base of the comparison.
FEW = 1000


def measure(users: int, rounds: int, log: Any) -> list[dict[str, Any]]:
    """Return the CPU microseconds of a request for each size, up to so many users."""
    many = [number for number in (FEW, 10_000, 100_000) if number <= users]
    sizes = [(personas, FEW) for personas in PERSONAS] + [(1, number) for number in many[1:]]
    if many[-1] > FEW:
        sizes.append((PERSONAS[-1], many[-1]))
    log(f"growth: logging {many[-1]} users in")
    cookies = cookies_of(floor.make_app(many[-1]), many[-1])
    rows: list[dict[str, Any]] = []
    drivers = []
    for number in (many[0], many[-1]):
        drivers.append(Driver(floor.make_app(number), cookies=cookies[:number]))
        rows.append({"app": "floor", "personas": 0, "users": number})
    for personas, number in sizes:
        log(f"growth: a token for each of {number} users, {personas} personas")
        app = instant.make_app(number, personas, MemoryCache(4 * number))
        driver = Driver(app, cookies=cookies[:number], personas=personas)
        driver.batch(number)
        drivers.append(driver)
        rows.append({"app": "ours", "personas": personas, "users": number})
    for row, found in zip(rows, compare(drivers, rounds), strict=True):
        row["cpu_us"] = found
    return rows
