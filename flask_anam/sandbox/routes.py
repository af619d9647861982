"""URL routing: which function answers which request, and pagination of lists."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask_anam.sandbox.api import catalog, mint_rules
from flask_anam.sandbox.api.account import Account
from flask_anam.sandbox.api.sessions import FILTERS
from flask_anam.sandbox.http.messages import ApiError, Request, Response, json_response
from flask_anam.sandbox.streaming.signalling import Signalling

#: Takes a request and the id in its path, "" when the route has none.
_Handler = Callable[[Request, str], Response]
#: Largest page number that is accepted.
_MAX_PAGE = 1_000_000_000
#: Most entries of one page.
_MAX_PER_PAGE = 100


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    handler: _Handler
    is_public: bool = False

    def match(self, path: str) -> str | None:
        """Return the id in `path`, "" when the route has none, None when it does not match."""
        pattern = re.escape(self.path).replace(r"\{id\}", "([^/]+)")
        match = re.fullmatch(pattern, path)
        return match and (match[1] if match.groups() else "")


class Router:
    """URL router; stateless. `address` is ``host:port``."""

    def __init__(self, account: Account, signalling: Signalling, address: str) -> None:
        self._account = account
        self._address = address
        self._routes = (
            _Route("GET", "/", _welcome, is_public=True),
            _Route("POST", "/v1/auth/session-token", lambda request, _: account.mint(request)),
            _Route("POST", "/v1/engine/session", self._start_session, is_public=True),
            _Route("GET", "/ws", signalling.connect, is_public=True),
            _Route("POST", "/talk", signalling.talk, is_public=True),
            _Route("POST", "/v1/metrics/client", lambda *_: Response(204), is_public=True),
            _Route("GET", "/v1/sessions", self._list_sessions),
            _Route("GET", "/v1/sessions/concurrency", self._concurrency),
            _Route("GET", "/v1/sessions/{id}", self._get_session),
            _Route("POST", "/v1/sessions/{id}/stop", self._stop_session),
            *_catalog_routes(),
        )

    def __call__(self, request: Request) -> Response:
        """Answer `request`.

        Raises:
            ApiError: The request is refused as the vendor refuses it, or its path (404) or method
                (405) is unknown.

        """
        if request.method == "OPTIONS":
            return Response(204)
        matches = [route for route in self._routes if route.match(request.path) is not None]
        if not matches:
            raise ApiError(404, "Not Found", f"There is nothing at {request.path}.")
        method = "GET" if request.method == "HEAD" else request.method
        for route in matches:
            if route.method == method:
                if not route.is_public:
                    self._account.require_key(request)
                return route.handler(request, route.match(request.path) or "")
        raise _method_not_allowed({route.method for route in matches})

    def _start_session(self, request: Request, _: str) -> Response:
        return self._account.start_session(request, request.headers.get("host") or self._address)

    def _list_sessions(self, request: Request, _: str) -> Response:
        _refuse_other_organizations(request)
        for name in FILTERS:
            if name in request.query:
                _require_uuid(request.query[name], name)
        return _page(request, self._account.sessions.search(request.query))

    def _concurrency(self, request: Request, _: str) -> Response:
        _refuse_other_organizations(request)
        return json_response(200, self._account.sessions.concurrency())

    def _get_session(self, _: Request, id_: str) -> Response:
        _require_uuid(id_, "session ID")
        return json_response(200, self._account.sessions.get(id_))

    def _stop_session(self, _: Request, id_: str) -> Response:
        _require_uuid(id_, "session ID")
        self._account.sessions.stop(id_)
        return json_response(200, {})


def _method_not_allowed(methods: set[str]) -> ApiError:
    allowed = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
    return ApiError(405, message=f"Allowed here: {allowed}.", headers=(("Allow", allowed),))


def _welcome(_request: Request, _: str) -> Response:
    return json_response(
        200,
        {
            "service": "Flask-Anam sandbox",
            "message": "This is the Flask-Anam sandbox, a local stand-in. It is not Anam.",
        },
    )


def _refuse_other_organizations(request: Request) -> None:
    if "organizationId" in request.query:
        raise ApiError(403, message="Only Anam's own keys may look at other organizations.")


def _require_uuid(value: str, name: str) -> None:
    if not re.fullmatch(mint_rules.UUID, value):
        raise ApiError(400, f"Invalid {name}", f"The {name} must be a UUID.")


def _page(request: Request, entries: list[dict[str, Any]]) -> Response:
    number = _query_number(request.query, "page", default=1, high=_MAX_PAGE)
    size = _query_number(request.query, "perPage", default=10, high=_MAX_PER_PAGE)
    last = max(1, -(-len(entries) // size))
    meta = {
        "total": len(entries),
        "lastPage": last,
        "currentPage": number,
        "perPage": size,
        "prev": number - 1 if number > 1 else None,
        "next": number + 1 if number < last else None,
    }
    data = entries[(number - 1) * size : number * size]
    return json_response(200, {"data": data, "meta": meta})


def _query_number(query: Mapping[str, str], name: str, *, default: int, high: int) -> int:
    text = query.get(name, str(default))
    value = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if not 1 <= value <= high:
        message = f"{name} must be a whole number from 1 to {high}."
        raise ApiError(400, "Invalid query parameters", message)
    return value


@dataclass(frozen=True)
class _Collection:
    """One part of the catalog, as a list and entry by entry.

    A search looks at the fields `searched`; `summaries` are the entries of the list, if it shows
    other fields.
    """

    title: str
    entries: tuple[catalog.Entry, ...]
    searched: tuple[str, ...]
    summaries: tuple[catalog.Entry, ...] = ()
    uuid_only: bool = True

    def search(self, request: Request, _: str) -> Response:
        term = request.query.get("search", "").lower()
        matches = [
            entry
            for entry in self.summaries or self.entries
            if any(term in entry[name].lower() for name in self.searched)
            and _passes_filters(entry, request.query)
        ]
        return _page(request, matches)

    def get(self, _: Request, id_: str) -> Response:
        if self.uuid_only:
            _require_uuid(id_, f"{self.title} ID")
        for entry in self.entries:
            if entry["id"] == id_.lower():
                return json_response(200, entry)
        raise ApiError(404, f"{self.title} not found")


def _passes_filters(entry: catalog.Entry, query: Mapping[str, str]) -> bool:
    """Apply the filters that only avatars and models have; other entries pass."""
    if "renderStyle" in entry:
        tags = {tag for tag in query.get("tags", "").split(",") if tag}
        if (
            query.get("renderStyle", "all") not in ("all", entry["renderStyle"])
            or (tags and not tags & set(entry["displayTags"]))
            or query.get("onlyOneShot") == "true"
        ):
            return False
    return not (query.get("includeDefaults") == "false" and entry.get("isDefault"))


def _catalog_routes() -> Iterator[_Route]:
    for name, collection in {
        "avatars": _Collection("Avatar", catalog.AVATARS, ("displayName", "description")),
        "voices": _Collection("Voice", catalog.VOICES, ("displayName",)),
        "llms": _Collection("LLM", catalog.LLMS, ("displayName",), uuid_only=False),
        "personas": _Collection(
            "Persona", catalog.PERSONAS, ("name",), catalog.PERSONA_SUMMARIES, uuid_only=False
        ),
        "tools": _Collection("Tool", catalog.TOOLS, ("name", "description", "id")),
    }.items():
        yield _Route("GET", f"/v1/{name}", collection.search)
        yield _Route("GET", f"/v1/{name}/{{id}}", collection.get)
