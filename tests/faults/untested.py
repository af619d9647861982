"""Rows of the fault list that no test covers, and why; the docs show this table."""

from __future__ import annotations

#: Row (and part of it) to reason.
UNTESTED = {
    "25 (a dead resolver)": (
        "Only root can replace the resolver of a machine by one that never answers. "
        "getaddrinfo() has no timeout, so such a lookup may take longer than ANAM_DEADLINE; "
        "connection reuse makes it rare, and `options timeout:1 attempts:2` in resolv.conf "
        "limits it."
    ),
    "32 (a real Sentinel or Cluster failover)": (
        "Its effects are tested: the lease is lost during a mint, and a replica refuses writes. "
        "These tests run no second Redis node with a Sentinel."
    ),
    "35 (a greenlet that is killed)": (
        "gevent is not a test requirement. It raises a BaseException that is not an Exception; "
        "this is tested with our own BaseException, SystemExit and KeyboardInterrupt."
    ),
    "39 (DynamoDB, MongoDB, uWSGI)": (
        "These servers are not available here. The first two have no lease in "
        "core/cache/backends.py (TRAITS), so the promise is one mint per process; uWSGI's cache "
        "is not supported."
    ),
}
