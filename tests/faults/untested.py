"""Rows of the fault list that no test here covers, and why; the docs show this table."""

from __future__ import annotations

#: Row (and part of it) to reason.
UNTESTED = {
    "25 (a dead resolver)": (
        "A resolver that never answers cannot be put in place of the machine's own without root. "
        "getaddrinfo() takes no timeout, so such a look-up may outlast ANAM_DEADLINE; kept "
        "connections make it rare, and `options timeout:1 attempts:2` in resolv.conf bounds it."
    ),
    "32 (a real Sentinel or Cluster failover)": (
        "Its effect is tested: the lease is gone in the middle of a mint, and writes are refused "
        "by a replica. No second Redis node with a Sentinel runs in these tests."
    ),
    "35 (a greenlet that is killed)": (
        "gevent is not among the test requirements. What it raises is a BaseException that is no "
        "Exception, and that is tested with one of our own, SystemExit and KeyboardInterrupt."
    ),
    "39 (DynamoDB, MongoDB, uWSGI)": (
        "No such servers here. The first two have no lease in core/cache/backends.py (TRAITS), so "
        "one mint per process is promised there; uWSGI's cache is not among the kinds."
    ),
}
