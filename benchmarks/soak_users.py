"""What users ask for during the soak: a few tabs each, and now and then what they must not."""

from __future__ import annotations

import json
import random
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any

from benchmarks.apps.host import PATH
from benchmarks.apps.soak import FORBIDDEN, OWN, SHARED
from flask_anam import errors

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to be made; see `Seen` for what has the same name there."""

    operation: str
    user: str
    method: str = "POST"
    path: str = PATH
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())
    place: tuple[str, ...] = ()
    used: str = ""
    only: tuple[int, str] | None = None


def _only(kind: type[errors.AnamError]) -> tuple[int, str]:
    return kind.status, kind.code


class Users:
    """Decides what is asked next, by a seed and by what was answered. Belongs to one thread."""

    def __init__(self, cookies: dict[str, str], seed: int) -> None:
        self._dice = random.Random(seed)
        self._cookies = cookies
        self._users = list(cookies)
        self._again: Ask | None = None
        #: The token of each tab that is not used up: user, persona, tab to token id and token.
        self._held: dict[tuple[str, ...], tuple[str, str]] = {}
        self._talks: deque[tuple[str, str]] = deque(maxlen=500)

    def next(self) -> Ask:
        """Return what is asked next; some things are asked twice in a row."""
        if self._again is not None:
            again, self._again = self._again, None
            return again
        kinds, weights = zip(*_MIX.items(), strict=True)
        (kind,) = self._dice.choices(kinds, weights)
        ask: Ask = getattr(self, f"_{kind}")(self._dice.choice(self._users))
        if ask.place and not ask.used and self._dice.random() < 0.2:
            self._again = ask
        return ask

    def told(self, ask: Ask, token: str, session_token: str) -> None:
        """Hear of a token that was handed out."""
        if ask.place[2:3] == ("slot",):
            self._held[ask.place] = (token, session_token)

    def cookie(self, ask: Ask) -> str:
        """Return the cookie that a request is sent with."""
        return "" if ask.only == _only(errors.Unauthenticated) else self._cookies[ask.user]

    def _token(self, user: str, persona: str, **told: Any) -> Ask:
        start: tuple[str, ...] = ("replay",)
        body, headers = {"personaType": persona}, dict(JSON)
        if slot := told.get("slot"):
            start, body["slot"] = ("slot", slot), slot
        if key := told.get("key"):
            start, headers["Idempotency-Key"] = ("key", key), key
        if used := told.get("used", ""):
            body["refused"] = used
        return Ask(
            operation="issueToken",
            user=user,
            body=json.dumps(body).encode(),
            headers=tuple(headers.items()),
            place=(user, persona, *start),
            used=used,
        )

    def _persona(self) -> str:
        # One of all is rare: when Anam refuses it, it is refused to everybody for ten seconds.
        return SHARED if self._dice.random() < 0.1 else self._dice.choice(OWN)

    def _first_tab(self, user: str) -> Ask:
        return self._token(user, self._persona(), slot="tab-0")

    def _other_tab(self, user: str) -> Ask:
        return self._token(user, self._persona(), slot=f"tab-{self._dice.randint(1, 3)}")

    def _no_slot(self, user: str) -> Ask:
        return self._token(user, self._persona())

    def _keyed(self, _user: str) -> Ask:
        user = self._users[self._dice.randrange(min(20, len(self._users)))]
        return self._token(user, self._persona(), key=f"key-{self._dice.randint(1, 3)}")

    def _greedy(self, _user: str) -> Ask:
        return self._token(self._users[0], self._persona(), slot=self._fresh().hex)

    def _refused(self, user: str) -> Ask:
        place = self._some_held()
        if place is None:
            return self._first_tab(user)
        token, _ = self._held.pop(place)
        return self._token(place[0], place[1], slot=place[3], used=token)

    def _start(self, user: str) -> Ask:
        place = self._some_held()
        if place is None:
            return self._first_tab(user)
        token, _ = self._held.pop(place)
        self._talks.append((place[0], str(self._fresh())))
        report = {"tokenId": token, "sessionId": self._talks[-1][1]}
        return _post("reportStart", "/anam/sessions", place[0], report, used=token)

    def _foreign_start(self, user: str) -> Ask:
        """Report the start of what another user holds: it must change nothing."""
        place = self._some_held()
        if place is None or place[0] == user:
            return self._first_tab(user)
        report = {"tokenId": self._held[place][0], "sessionId": "not-mine"}
        return _post("reportStart", "/anam/sessions", user, report)

    def _end(self, user: str) -> Ask:
        if not self._talks:
            return self._first_tab(user)
        owner, talk = self._dice.choice(self._talks)
        return _post("reportEnd", f"/anam/sessions/{talk}/end", owner, {})

    def _foreign_stop(self, user: str) -> Ask:
        return Ask(
            operation="stopSession",
            user=user,
            method="DELETE",
            path="/anam/sessions/not-mine",
            only=_only(errors.NotFound),
        )

    def _validate(self, user: str) -> Ask:
        place = self._some_held()
        held = self._held[place][1] if place else "no.token.yet"
        return _post("validate", "/anam/session-token/validate", user, {"sessionToken": held})

    def _personas(self, user: str) -> Ask:
        return Ask(operation="listPersonas", user=user, method="GET", path="/anam/personas")

    def _concurrency(self, user: str) -> Ask:
        return Ask(operation="concurrency", user=user, method="GET", path="/anam/concurrency")

    def _metrics(self, user: str) -> Ask:
        only = _only(errors.PermissionDenied)
        return Ask(operation="metrics", user=user, method="GET", path="/anam/metrics", only=only)

    def _unknown(self, user: str) -> Ask:
        return _wrong(user, errors.UnknownPersona, {"personaType": "nobody"})

    def _forbidden(self, user: str) -> Ask:
        return _wrong(user, errors.PermissionDenied, {"personaType": FORBIDDEN})

    def _nobody(self, user: str) -> Ask:
        return _wrong(user, errors.Unauthenticated, {"personaType": SHARED})

    def _bad_field(self, user: str) -> Ask:
        return _wrong(user, errors.InvalidRequest, {"personaType": SHARED, "model": "mine"})

    def _bad_json(self, user: str) -> Ask:
        return _wrong(user, errors.MalformedJson, b"{")

    def _bad_type(self, user: str) -> Ask:
        return _wrong(user, errors.UnsupportedMediaType, b"{}", ("Content-Type", "text/plain"))

    def _too_long(self, user: str) -> Ask:
        return _wrong(user, errors.PayloadTooLarge, {"slot": "x" * 20_000})

    def _other_site(self, user: str) -> Ask:
        site = ("Origin", "https://elsewhere.example")
        return _wrong(user, errors.CrossSite, {"personaType": SHARED}, *JSON.items(), site)

    def _fresh(self) -> uuid.UUID:
        return uuid.UUID(int=self._dice.getrandbits(128), version=4)

    def _some_held(self) -> tuple[str, ...] | None:
        """Return a tab that holds a token; they take turns."""
        found = next(iter(self._held), None)
        if found:
            self._held[found] = self._held.pop(found)
        return found


#: How often each kind is chosen, out of their sum.
_MIX = {
    "first_tab": 45,
    "other_tab": 5,
    "no_slot": 4,
    "keyed": 6,
    "greedy": 3,
    "refused": 3,
    "start": 5,
    "end": 3,
    "foreign_start": 2,
    "foreign_stop": 1,
    "validate": 4,
    "personas": 2,
    "concurrency": 1,
    "metrics": 1,
    "unknown": 2,
    "forbidden": 2,
    "nobody": 2,
    "bad_field": 1,
    "bad_json": 1,
    "bad_type": 1,
    "too_long": 1,
    "other_site": 1,
}


def _post(operation: str, path: str, user: str, body: object, used: str = "") -> Ask:
    return Ask(operation=operation, user=user, path=path, body=json.dumps(body).encode(), used=used)


def _wrong(user: str, kind: type[errors.AnamError], body: object, *headers: tuple[str, str]) -> Ask:
    return Ask(
        operation="issueToken",
        user=user,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers=headers or tuple(JSON.items()),
        only=_only(kind),
    )
