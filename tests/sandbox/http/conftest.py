"""A raw connection to the sandbox."""

import socket
from collections.abc import Iterator

import pytest
from sandbox.clients import open_connection

from flask_anam.sandbox import Sandbox


@pytest.fixture
def connection(sandbox: Sandbox) -> Iterator[socket.socket]:
    """Give a TCP connection to the sandbox."""
    with open_connection(sandbox) as opened:
        yield opened
