"""ICE host candidates: this machine's addresses, with the loopback address among them."""

import functools

from aioice import ice


def offer_loopback() -> None:
    """Make every ICE agent of this process offer 127.0.0.1 too; idempotent.

    aioice leaves the loopback address out and has no setting for it, so this replaces its function
    that lists the addresses. Without 127.0.0.1 nothing connects on a machine without a network, and
    with 127.0.0.1 alone Firefox does not connect.
    """
    original = ice.get_host_addresses
    if getattr(original, "offers_loopback", False):
        return

    @functools.wraps(original)
    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses = list(original(use_ipv4, use_ipv6))
        if use_ipv4 and "127.0.0.1" not in addresses:
            addresses.append("127.0.0.1")
        return addresses

    get_host_addresses.offers_loopback = True  # type: ignore[attr-defined]
    ice.get_host_addresses = get_host_addresses
