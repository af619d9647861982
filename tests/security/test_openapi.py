"""openapi.json is a valid description, complete, and the server does what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hosts import ADA, BOB, EVE, TOKEN_PATH, User, client_of, make_app
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
)

from flask_anam import errors
from flask_anam.sandbox import Sandbox
from flask_anam.web.openapi import ROUTES

from .conftest import Serve, cookie_of

#: Requests per operation and kind; `make hostile` asks for more.
EXAMPLES = int(os.environ.get("ANAM_API_EXAMPLES", "10"))
QUIETLY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
AnyCase = Case[Any]
#: How bad data may be refused; the tool does not know that it can be too large.
REFUSALS = [400, 401, 403, 404, 413, 415, 422]
CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}
)
NO_LIMIT: dict[str, Any] = {
    "ANAM_TOKEN_RATE_LIMIT": "1000000 per minute",
    "ANAM_REQUEST_RATE_LIMIT": "1000000 per minute",
}


def described(app: Flask) -> dict[str, Any]:
    """Return the document."""
    document: dict[str, Any] = client_of(app).get("/anam/openapi.json").get_json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_is_valid_openapi(app: Flask) -> None:
    """A validator of the specification accepts it, its links included."""
    document = described(app)
    validate(document)
    names = {operation["operationId"] for _, _, operation in operations(document)}
    assert len(names) == len(list(operations(document)))
    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                assert link["operationId"] in names


def test_every_route_is_described(app: Flask) -> None:
    """Each rule of the blueprint but the static files, with its methods, and a line in ROUTES."""
    rules = {
        (str(rule).replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("anam.") and rule.endpoint != "anam.static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in operations(described(app))} == rules
    views = {name.removeprefix("anam.") for name in app.view_functions if name[:5] == "anam."}
    assert views - {"static"} == set(ROUTES), "ROUTES in openapi.py lacks a view, or has too many"


def test_every_error_code_is_described(app: Flask) -> None:
    """Each error of the tree that a browser can see is an answer of some operation."""
    text = repr(described(app))
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.AnamError):
            seen = f"'{kind.code}'" in text
            of_the_path = {"method_not_allowed", "anam_error"}  # not of an operation; never sent
            assert seen is (kind.code not in of_the_path), kind


def test_the_document_follows_the_settings(sandbox: Sandbox) -> None:
    """Paths and cookie are those of the app; below a mount point the server says so."""
    names: dict[str, Any] = {
        "ANAM_TOKEN_PATH": "/t",
        "ANAM_URL_PREFIX": "/x",
        "SESSION_COOKIE_NAME": "sid",
    }
    app = make_app(sandbox, **names)
    answer = client_of(app).get("/x/openapi.json", environ_overrides={"SCRIPT_NAME": "/mounted"})
    document = answer.get_json()
    assert "/t" in document["paths"]
    assert "/x/personas" in document["paths"]
    assert document["components"]["securitySchemes"]["session"]["name"] == "sid"
    assert document["servers"] == [{"url": "/mounted"}]


def only_described_statuses(ctx: CheckContext, response: Response, case: AnyCase) -> None:
    """Refuse an answer that only the operation's "default" covers."""
    known = case.operation.definition.raw["responses"]
    assert str(response.status_code) in known, f"{response.status_code} is not described"


CHECKS: list[Callable[..., Any]] = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    ignored_auth,
    only_described_statuses,
]


@pytest.fixture
def target(sandbox: Sandbox, serve: Serve) -> tuple[BaseSchema, Flask]:
    """Return the description that a real server gives of itself, and its app."""
    app = make_app(sandbox, ADA, BOB, EVE, ANAM_DASHBOARD=True, **NO_LIMIT)
    url = serve(app) + "/anam/openapi.json"
    return schemathesis.openapi.from_url(url, config=CONFIG), app


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("user", [None, ADA, EVE], ids=["nobody", "ada", "without permission"])
def test_the_server_does_what_the_document_says(
    target: tuple[BaseSchema, Flask], user: User | None, mode: GenerationMode
) -> None:
    """No 5xx; status, body, headers and content type as described; bad data is refused."""
    schema, app = target
    cookies = {"session": cookie_of(app, user)} if user else {}
    statuses: set[int] = set()
    for document in schema.get_all_operations():
        assert isinstance(document, Ok)
        operation = document.ok()
        seen = exercise(operation, mode, cookies)
        assert user is ADA or min(seen) >= 400 or not operation.definition.raw["security"]
        statuses |= seen
    assert statuses >= ({200, 204} if user is ADA else {401} if user is None else {403})


def exercise(operation: Any, mode: GenerationMode, cookies: dict[str, str]) -> set[int]:
    """Send generated requests to one operation, check the answers, and return their statuses."""
    statuses: set[int] = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @QUIETLY
    def run(case: AnyCase) -> None:
        case.cookies.clear()
        for name in ("Cookie", "Authorization"):
            case.headers.pop(name, None)
        answer = case.call(cookies=cookies)
        case.validate_response(answer, checks=CHECKS)
        statuses.add(answer.status_code)

    run()
    return statuses


@pytest.mark.slow
def test_a_conversation_as_the_links_tell_it(target: tuple[BaseSchema, Flask]) -> None:
    """Token, start, end and verdict in the orders that the links allow."""
    schema, app = target
    cookie = cookie_of(app, ADA)
    followed: set[str] = set()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def before_call(self, case: AnyCase) -> None:
            case.cookies.clear()
            case.headers.pop("Authorization", None)

        def get_call_kwargs(self, case: AnyCase) -> dict[str, Any]:
            return {"cookies": {"session": cookie}}

        def after_call(self, response: Response, case: AnyCase) -> None:
            super().after_call(response, case)
            if response.status_code < 300:
                followed.add(case.operation.definition.raw["operationId"])

        def validate_response(self, response: Response, case: AnyCase, **kwargs: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Walk.run(settings=settings(QUIETLY, stateful_step_count=6))
    assert {"issueToken", "reportStart", "reportEnd"} <= followed
    assert TOKEN_PATH in schema.raw_schema["paths"]
