"""Our schema and the sandbox agree with what Anam publishes, but for the differences we intend.

2,400 bodies in a normal run; ``make property``, or ANAM_PROPERTY_BODIES=50000, tries more.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from core.schemas.bodies import FULL, Break, breaks, broken_once, odd, right
from core.schemas.intended_differences import GOOD, PROMPT_LIMIT, TABLE, Difference, ours
from core.schemas.published import Node, broken
from hypothesis import HealthCheck, Phase, given, settings
from marshmallow import ValidationError

from flask_anam.core.personas.registry import error_lines
from flask_anam.core.schemas.mint_request import MintRequestSchema
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.errors import PersonaWarning
from flask_anam.sandbox.api.mint_rules import validate_mint

#: Bodies in all; a third of them for each of the three tests.
BODIES = int(os.environ.get("ANAM_PROPERTY_BODIES", "2400"))

_RULES: dict[str, Any] = {"system_prompt_max_length": PROMPT_LIMIT}
_PLAIN = MintRequestSchema(PersonaConfigSchema(**_RULES))
_WITH_ENVIRONMENT = MintRequestSchema(PersonaConfigSchema(needs_llm=False, **_RULES))


def thoroughly(test: Callable[..., None]) -> Callable[[], None]:
    """Run a property as often as asked, the same way each time."""
    prepare: Callable[[Callable[..., None]], Callable[[], None]] = settings(
        max_examples=BODIES // 3,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    return prepare(test)


def loaded(body: Node) -> Any:
    """Return what our schema makes of a body."""
    schema = _WITH_ENVIRONMENT if body.get("environment") else _PLAIN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PersonaWarning)
        return schema.load(body)


def refused(body: Node) -> set[str]:
    """Return the dotted paths that our schema refuses."""
    try:
        loaded(body)
    except ValidationError as exc:
        return {line.split(": ")[0] for line in error_lines(exc.messages)}
    return set()


def refused_by_the_sandbox(body: Node) -> set[str]:
    """Return the dotted paths that the sandbox's own rules refuse."""
    return {".".join(path) for path, _ in validate_mint(body).messages}


def related(path: str, others: set[str]) -> bool:
    """Whether a path, or the object that it is in, is among others."""
    return any(f"{path}.".startswith(f"{other}.") for other in others)


@pytest.mark.slow
def test_what_is_right_is_accepted_by_all() -> None:
    """Right bodies pass our schema and the sandbox, and come out as they went in."""
    seen: Counter[bool] = Counter()

    @thoroughly
    @given(right())
    def check(body: Node) -> None:
        seen["personaId" in body["personaConfig"]] += 1
        assert (broken(body), ours(body)) == (set(), set())
        assert refused_by_the_sandbox(body) == set()
        assert refused(body) == set()
        assert repr(loaded(body)) == repr(body)

    check()
    assert sum(seen.values()) >= BODIES // 3
    assert min(seen.values()) >= BODIES // 30


@pytest.mark.slow
def test_what_is_published_as_right_is_refused_for_intended_reasons_only() -> None:
    """For odd but right bodies the table of differences predicts exactly what we refuse."""
    seen: Counter[bool] = Counter()

    @thoroughly
    @given(odd())
    def check(body: Node) -> None:
        expected = ours(body)
        seen[bool(expected)] += 1
        assert broken(body) == set()
        assert refused_by_the_sandbox(body) == set()
        assert refused(body) == expected

    check()
    assert sum(seen.values()) >= BODIES // 3


@pytest.mark.slow
def test_what_is_broken_in_one_place_is_refused_there() -> None:
    """We refuse the broken path and nothing else; the sandbox refuses it, or what it is in."""
    paths: Counter[str] = Counter()

    @thoroughly
    @given(broken_once())
    def check(broken_bodies: list[Break]) -> None:
        for path, body in broken_bodies:
            paths[path] += 1
            assert broken(body) == {path}
            assert refused(body) == {path} | ours(body)
            assert related(path, refused_by_the_sandbox(body))

    check()
    assert paths.total() >= BODIES // 3 * 2
    assert len(paths) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("body", FULL.values(), ids=FULL)
def test_every_place_of_a_full_body_is_refused_when_broken(body: Node) -> None:
    """With every option group set: each rule is broken in turn, wherever it applies."""
    assert broken(body) | ours(body) | refused(body) | refused_by_the_sandbox(body) == set()
    for path, make in breaks(body):
        wrong = make()
        assert broken(wrong) == {path}
        assert refused(wrong) == {path} | ours(wrong)
        assert related(path, refused_by_the_sandbox(wrong))


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_each_intended_difference_is_needed(row: Difference) -> None:
    """There is a body that the published rules allow and that we refuse for this alone."""
    expected = set(row.where(row.witness))
    assert expected
    assert broken(row.witness) == set()
    assert refused_by_the_sandbox(row.witness) == set()
    assert refused(row.witness) == expected
    assert [other.name for other in TABLE if set(other.where(row.witness))] == [row.name]


def test_the_oracle_accepts_the_vendors_own_example() -> None:
    """The persona of the OpenAPI's example is right by every measure."""
    body = {"personaConfig": {**GOOD, "systemPrompt": "You are a helpful assistant."}}
    assert broken(body) | ours(body) | refused(body) | refused_by_the_sandbox(body) == set()
