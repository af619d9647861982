"""Whether what was seen in the soak is what the docs promise.

Pure: it gets what callers have seen, what the sandbox has minted, and which trouble there was, and
returns complaints. Times are Unix seconds of one machine.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from flask_anam.core.config.settings import Settings
from flask_anam.core.minting.mint_lock import MAX_WAIT
from flask_anam.core.outage import OUTAGE_PAUSE

#: In the place of a status: the connection broke, or there was no answer in time.
BROKEN, HUNG = 0, -1
_DEFAULTS = {one.name: one.metadata["default"] for one in fields(Settings)}
#: Seconds for which a token is handed out again, by what its place is told apart by.
WINDOWS: Mapping[str, float] = {
    "slot": math.inf,
    "key": _DEFAULTS["idempotency_window"],
    "replay": _DEFAULTS["replay_window"],
}
#: Seconds after which an attempt to mint is given up: its token may still be made, and is lost.
GIVEN_UP: float = _DEFAULTS["read_timeout"]
#: Seconds within which a worker that left something to Anam is answered, if it still listens.
LATE = 10.0
#: A line of the log that says that a worker leaves cache or limits alone.
_LEFT_ALONE = re.compile(
    r"^([0-9.]+) \d+ WARNING \S+ The (?:token cache|storage of the rate)", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request and its answer.

    Attributes:
        operation: what `openapi.json` calls it.
        user: who asked.
        began: when it was sent.
        ended: when it was answered.
        status: of the answer, or `BROKEN` or `HUNG`.
        code: of an error.
        place: of a request for a token: user, persona, kind of start and its name.
        got: id of the token that was handed out.
        used: id of a token of the same user that it reports as started, or as refused.
        only: the only right status and code, where there is one.
        carries: names of headers in lower case, and "body " and the names of fields.
        worker: process id of who answered on this connection.
        opened: when the connection was opened.

    """

    operation: str
    user: str
    began: float
    ended: float
    status: int
    code: str = ""
    place: tuple[str, ...] = ()
    got: str = ""
    used: str = ""
    only: tuple[int, str] | None = None
    carries: frozenset[str] = frozenset()
    worker: str = ""
    opened: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One request for a page of the host."""

    began: float
    ended: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """One token that the sandbox has made; `user` is "" where its config names none."""

    token: str
    user: str
    persona: str
    at: float


@dataclass(kw_only=True)
class Evidence:
    """All that is known of a soak.

    Attributes:
        seen: requests and answers.
        pages: requests for pages of the host, and their answers.
        mints: tokens made.
        documented: what may be answered, see `documented`.
        outages: stretches of time in which workers had to do without Redis.
        kills: when a worker was killed, and its process id.
        lossy: calls in which the sandbox made a token and lost it on purpose.
        limit: tokens that a user may get.

    """

    seen: Sequence[Seen]
    pages: Sequence[Page] = ()
    mints: Sequence[Mint]
    documented: Mapping[str, Mapping[int, Answers]]
    outages: Sequence[tuple[float, float]] = ()
    kills: Sequence[tuple[float, int]] = ()
    lossy: int = 0
    limit: int = 1_000_000

    def out(self, since: float, until: float) -> bool:
        """Whether workers had to do without Redis at some time of these."""
        return any(begin <= until and since <= end for begin, end in self.outages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What `openapi.json` says of one status: codes there are, and what must be carried."""

    codes: frozenset[str] = frozenset([""])
    carries: frozenset[str] = frozenset()


def documented(description: Mapping[str, Any]) -> dict[str, dict[int, Answers]]:
    """Return what each operation of an `openapi.json` may answer, by name and status."""
    found: dict[str, dict[int, Answers]] = {}
    for methods in description["paths"].values():
        for operation in methods.values():
            told = operation["responses"].items()
            answers = {int(status): _answers(one) for status, one in told if status != "default"}
            found[operation["operationId"]] = answers
    return found


def _answers(told: Mapping[str, Any]) -> Answers:
    schema = told.get("content", {}).get("application/json", {}).get("schema", {})
    needed, codes = schema.get("required", []), [""]
    if "allOf" in schema:
        needed, codes = ["error", "code"], schema["allOf"][1]["properties"]["code"]["enum"]
    headers = [name.lower() for name, one in told["headers"].items() if one.get("required")]
    return Answers(
        codes=frozenset(codes), carries=frozenset([*headers, *(f"body {name}" for name in needed)])
    )


def outages(log: str) -> list[tuple[float, float]]:
    """Return the times for which workers say in their log that they do without Redis.

    A busy machine may bring that about too: an operation has a quarter of a second.
    """
    told = [float(at) for at in _LEFT_ALONE.findall(log)]
    return [(at - 1.0, at + OUTAGE_PAUSE + 1.0) for at in told]


def complaints(evidence: Evidence) -> list[str]:
    """Return what was not as promised; nothing when all is well."""
    return [
        complaint
        for rule in (_unanswered, _undocumented, _foreign, _doubled, _lost, _used_again, _limits)
        for complaint in rule(evidence)
    ]


def _unanswered(evidence: Evidence) -> Iterator[str]:
    """See that all are answered, but for those whom the killed worker was serving."""
    for one in evidence.seen:
        if one.status == HUNG:
            yield f"No answer in time: {_named(one)}."
        elif one.status == BROKEN and not any(
            one.opened <= at <= one.ended and one.worker in {"", str(pid)}
            for at, pid in evidence.kills
        ):
            yield f"Connection lost, and no worker was killed: {_named(one)}."
    for page in evidence.pages:
        killed = any(page.began <= at <= page.ended for at, _ in evidence.kills)
        if page.status != 200 and not (page.status == BROKEN and killed):
            took = page.ended - page.began
            yield f"A page of the host answered {page.status} after {took:.1f} s."


def _undocumented(evidence: Evidence) -> Iterator[str]:
    """See that answers are documented for their route, and right where only one is."""
    for one in evidence.seen:
        if one.status <= 0:
            continue
        answers = evidence.documented[one.operation].get(one.status)
        if answers is None or one.code not in answers.codes:
            yield f"Not documented: {_named(one)}."
        elif one.status == 500:
            yield f"Blames the set-up, in which nothing is wrong: {_named(one)}."
        elif missing := answers.carries - one.carries:
            yield f"Lacks {', '.join(sorted(missing))}: {_named(one)}."
        elif one.only and one.only != (one.status, one.code):
            yield f"Must be {one.only}: {_named(one)}."


def _foreign(evidence: Evidence) -> Iterator[str]:
    """See that a token was minted for who gets it, and is in one tab only."""
    mints = {mint.token: mint for mint in evidence.mints}
    places: dict[str, tuple[str, ...]] = {}
    for one in evidence.seen:
        if not one.got:
            continue
        mint = mints.get(one.got)
        if mint is None:
            yield f"A token that was never minted: {_named(one)}."
        elif mint.persona != one.place[1] or mint.user not in {"", one.user}:
            yield f"A foreign token, made for {mint.user} and {mint.persona}: {_named(one)}."
        elif places.setdefault(one.got, one.place) != one.place:
            yield f"A foreign token, handed out to {places[one.got]}: {_named(one)}."


def _doubled(evidence: Evidence) -> Iterator[str]:
    """See that a place has one token at a time; docs/token-lifecycle.md tells when not."""
    at = {mint.token: mint.at for mint in evidence.mints}
    by_place: dict[tuple[str, ...], list[Seen]] = defaultdict(list)
    uses: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for one in evidence.seen:
        if one.got in at:
            by_place[one.place].append(one)
        if one.used:
            uses[one.user, one.used].append(one)
    for place, answers in by_place.items():
        tokens = sorted({one.got for one in answers}, key=at.__getitem__)
        mine = [use for token in tokens for use in uses.get((place[0], token), ())]
        for old, new in pairwise(tokens):
            # The window is counted from when Anam was asked, which a slow answer follows later.
            asked_old = min(one.began for one in answers if one.got == old)
            over = at[new] >= min(asked_old, at[old]) + WINDOWS[place[2]]
            # The report of an older token excuses only if it was under way as this one was made.
            used = any(
                use.began <= at[new] if use.used == old else use.began <= at[old] <= use.ended
                for use in mine
            )
            asked = [one.began for one in answers if one.got == new]
            waited = any(began <= at[new] - MAX_WAIT for began in asked)
            # Who began to ask without Redis keeps nothing, even if the mint takes until later.
            since = min(one.began for one in answers if one.got in {old, new})
            if not (over or used or waited or evidence.out(since, at[new])):
                yield f"A second token after {at[new] - at[old]:.3f} s for {place}: {old}, {new}."


def _lost(evidence: Evidence) -> Iterator[str]:
    """See that a token that nobody got was lost on the way, and not made for nothing."""
    got = {one.got for one in evidence.seen}
    asked: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for one in evidence.seen:
        # Only who may have had to give an attempt up excuses anything.
        if one.place and (one.status <= 0 or one.ended - one.began >= GIVEN_UP):
            asked[one.user, one.place[1]].append(one)
            asked["", one.place[1]].append(one)
    lost = [
        mint
        for mint in evidence.mints
        if mint.token not in got
        and not any(
            one.began <= mint.at <= one.ended + LATE for one in asked[mint.user, mint.persona]
        )
    ]
    if len(lost) > evidence.lossy:
        excess = len(lost) - evidence.lossy
        yield f"{excess} tokens more were made for nobody than faults have lost ({evidence.lossy})."


def _used_again(evidence: Evidence) -> Iterator[str]:
    """See that a token reported as started or refused is not handed out again."""
    at = {mint.token: mint.at for mint in evidence.mints}
    over: dict[tuple[str, str], float] = {}
    for one in evidence.seen:
        if not one.used or evidence.out(at.get(one.used, 0.0), one.ended):
            continue
        if one.got == one.used:
            yield f"The token that was refused: {_named(one)}."
        if one.status in {200, 204}:
            key = (one.user, one.used)
            over[key] = min(over.get(key, math.inf), one.ended)
    for one in evidence.seen:
        if one.got and one.began > over.get((one.user, one.got), math.inf):
            yield f"A token that was used already: {_named(one)}."


def _limits(evidence: Evidence) -> Iterator[str]:
    """See that nobody gets more tokens than the limit, while it could be counted."""
    tokens: dict[str, set[str]] = defaultdict(set)
    uncounted = set()
    for one in evidence.seen:
        if one.got:
            tokens[one.user].add(one.got)
            if evidence.out(one.began, one.ended):
                uncounted.add(one.user)
    for user, got in tokens.items():
        if len(got) > evidence.limit and user not in uncounted:
            yield f"{user} got {len(got)} tokens; the limit is {evidence.limit}."


def _named(one: Seen) -> str:
    took = one.ended - one.began
    what = f"{one.operation} for {one.place or one.user}"
    return f"{what} answered {one.status} {one.code or 'without a code'} after {took:.1f} s"
