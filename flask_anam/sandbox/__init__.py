"""A local stand-in for the Anam API, for development and tests: see :class:`Sandbox`."""

from flask_anam.sandbox.ledger import Ledger, MintRecord, RequestRecord, SessionRecord
from flask_anam.sandbox.server import Sandbox

__all__ = ["Ledger", "MintRecord", "RequestRecord", "Sandbox", "SessionRecord"]
