"""ICE host candidates: 127.0.0.1 is offered once, beside the machine's addresses."""

import pytest
from aioice import ice

from flask_anam.sandbox.media.addresses import offer_loopback


@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["10.0.0.7", "127.0.0.1"], []])
def test_the_loopback_address_is_offered_once(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """Repeated calls change nothing, and IPv6 alone has no IPv4 address."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda *_, **__: addresses)
    offer_loopback()
    offer_loopback()
    offered = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    assert offered.count("127.0.0.1") == 1
    assert set(addresses) <= set(offered)
    assert ice.get_host_addresses(use_ipv4=False, use_ipv6=True) == addresses
