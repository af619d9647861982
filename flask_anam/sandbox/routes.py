"""The API's addresses: which request goes where, and how lists are cut into pages."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask_anam.sandbox.api import catalog, mint_rules
from flask_anam.sandbox.api.account import Account
from flask_anam.sandbox.http.messages import ApiError, Request, Response, json_response
from flask_anam.sandbox.streaming.signalling import Signalling

_Handler = Callable[[Request, str], Response]


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    handler: _Handler
    public: bool = False


class Router:
    """Finds the handler of a request; holds no state of its own. `address` is ``host:port``."""

    def __init__(self, account: Account, signalling: Signalling, address: str) -> None:
        self._account = account
        self._address = address
        self._routes = (
            _Route("GET", "/", _welcome, public=True),
            _Route("POST", "/v1/auth/session-token", lambda request, _: account.mint(request)),
            _Route("POST", "/v1/engine/session", self._start, public=True),
            _Route("GET", "/ws", signalling.connect, public=True),
            _Route("POST", "/talk", signalling.talk, public=True),
            _Route("POST", "/v1/metrics/client", lambda *_: Response(204), public=True),
            _Route("GET", "/v1/sessions", self._list_sessions),
            _Route("GET", "/v1/sessions/concurrency", self._concurrency),
            _Route("GET", "/v1/sessions/{id}", self._session),
            _Route("POST", "/v1/sessions/{id}/stop", self._stop),
            *_catalog_routes(),
        )

    def __call__(self, request: Request) -> Response:
        """Answer `request`.

        Raises:
            ApiError: As the vendor refuses, and 404 and 405 for addresses there are not.

        """
        if request.method == "OPTIONS":
            return Response(204)
        here = [route for route in self._routes if _match(route.path, request.path) is not None]
        if not here:
            raise ApiError(404, "Not Found", f"There is nothing at {request.path}.")
        method = "GET" if request.method == "HEAD" else request.method
        for route in here:
            if route.method == method:
                if not route.public:
                    self._account.require_key(request)
                return route.handler(request, _match(route.path, request.path) or "")
        raise _not_allowed(here)

    def _start(self, request: Request, _: str) -> Response:
        return self._account.start_session(request, request.headers.get("host") or self._address)

    def _list_sessions(self, request: Request, _: str) -> Response:
        _only_own(request)
        for name in ("apiKeyId", "personaId"):
            if name in request.query:
                _require_uuid(request.query[name], name)
        return _page(request, self._account.sessions.listed(request.query))

    def _concurrency(self, request: Request, _: str) -> Response:
        _only_own(request)
        return json_response(200, self._account.sessions.concurrency())

    def _session(self, _: Request, id_: str) -> Response:
        _require_uuid(id_, "session ID")
        return json_response(200, self._account.sessions.get(id_))

    def _stop(self, _: Request, id_: str) -> Response:
        _require_uuid(id_, "session ID")
        self._account.sessions.stop(id_)
        return json_response(200, {})


def _match(template: str, path: str) -> str | None:
    """Return the id in `path`, "" when `template` has none, None when they differ."""
    found = re.fullmatch(re.escape(template).replace(r"\{id\}", "([^/]+)"), path)
    if found is None:
        return None
    return found[1] if found.groups() else ""


def _not_allowed(routes: Iterable[_Route]) -> ApiError:
    methods = {route.method for route in routes}
    allowed = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
    message = f"Allowed here: {allowed}."
    return ApiError(405, "Method Not Allowed", message, headers=[("Allow", allowed)])


def _welcome(_request: Request, _: str) -> Response:
    return json_response(
        200,
        {
            "service": "Flask-Anam sandbox",
            "message": "This is the Flask-Anam sandbox, a local stand-in. It is not Anam.",
        },
    )


def _only_own(request: Request) -> None:
    if "organizationId" in request.query:
        raise ApiError(403, message="Only Anam's own keys may look at other organizations.")


def _require_uuid(value: str, name: str) -> None:
    if not re.fullmatch(mint_rules.UUID, value):
        raise ApiError(400, f"Invalid {name}", f"The {name} must be a UUID.")


def _page(request: Request, entries: list[dict[str, Any]]) -> Response:
    number = _whole(request.query, "page", default=1)
    size = _whole(request.query, "perPage", default=10, high=100)
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


def _whole(query: Mapping[str, str], name: str, *, default: int, high: int = 1_000_000_000) -> int:
    text = query.get(name, str(default))
    value = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if not 1 <= value <= high:
        message = f"{name} must be a whole number from 1 to {high}."
        raise ApiError(400, "Invalid query parameters", message)
    return value


def _catalog_routes() -> Iterable[_Route]:
    for kind in _KINDS:
        yield _Route("GET", f"/v1/{kind.name}", kind.listed)
        yield _Route("GET", f"/v1/{kind.name}/{{id}}", kind.get)


@dataclass(frozen=True)
class _Kind:
    """One part of the catalog: `shown` are its entries in the list, `full` one by one."""

    name: str
    title: str
    shown: tuple[catalog.Entry, ...]
    full: tuple[catalog.Entry, ...]
    searched: tuple[str, ...]
    uuid_only: bool

    def listed(self, request: Request, _: str) -> Response:
        term = request.query.get("search", "").lower()
        found = [
            entry
            for entry in self.shown
            if any(term in entry[name].lower() for name in self.searched)
            and _is_wanted(entry, request.query)
        ]
        return _page(request, found)

    def get(self, _: Request, id_: str) -> Response:
        if self.uuid_only:
            _require_uuid(id_, f"{self.title} ID")
        for entry in self.full:
            if entry["id"] == id_.lower():
                return json_response(200, entry)
        raise ApiError(404, f"{self.title} not found")


def _is_wanted(entry: catalog.Entry, query: Mapping[str, str]) -> bool:
    """Apply the filters that only avatars and models have; other entries pass."""
    style = query.get("renderStyle", "all")
    if "renderStyle" in entry and style not in ("all", entry["renderStyle"]):
        return False
    tags = {tag for tag in query.get("tags", "").split(",") if tag}
    if "renderStyle" in entry and tags and not tags & set(entry["displayTags"]):
        return False
    if "renderStyle" in entry and query.get("onlyOneShot") == "true":
        return False
    return not (query.get("includeDefaults") == "false" and entry.get("isDefault"))


_KINDS = (
    _Kind(
        "avatars",
        "Avatar",
        catalog.AVATARS,
        catalog.AVATARS,
        ("displayName", "description"),
        uuid_only=True,
    ),
    _Kind("voices", "Voice", catalog.VOICES, catalog.VOICES, ("displayName",), uuid_only=True),
    _Kind("llms", "LLM", catalog.LLMS, catalog.LLMS, ("displayName",), uuid_only=False),
    _Kind(
        "personas",
        "Persona",
        catalog.PERSONA_SUMMARIES,
        catalog.PERSONAS,
        ("name",),
        uuid_only=False,
    ),
    _Kind(
        "tools",
        "Tool",
        catalog.TOOLS,
        catalog.TOOLS,
        ("name", "description", "id"),
        uuid_only=True,
    ),
)
