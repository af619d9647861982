"""Where WebRTC packets may go: this machine's own addresses, loopback included."""

import functools

from aioice import ice


def offer_loopback() -> None:
    """Make every ICE agent of this process offer 127.0.0.1 too; idempotent.

    aioice leaves the loopback address out and has no setting for it, so its function that lists
    the addresses is replaced. Without it nothing connects on a machine without a network, and with
    127.0.0.1 alone Firefox does not connect.
    """
    known = ice.get_host_addresses
    if getattr(known, "offers_loopback", False):
        return

    @functools.wraps(known)
    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found = list(known(use_ipv4, use_ipv6))
        return [*found, "127.0.0.1"] if use_ipv4 and "127.0.0.1" not in found else found

    addresses.offers_loopback = True  # type: ignore[attr-defined]
    ice.get_host_addresses = addresses
