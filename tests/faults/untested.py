"""Rows of the fault list that no test here covers, and why; the docs show this table."""

from __future__ import annotations

#: Row (and part of it) to reason.
UNTESTED = {
    "25 (a dead resolver)": (
        "A resolver that never answers cannot be put in place of the machine's own without root. "
        "getaddrinfo() takes no timeout, so such a look-up may outlast ANAM_DEADLINE; kept "
        "connections make it rare, and `options timeout:1 attempts:2` in resolv.conf bounds it."
    ),
}
