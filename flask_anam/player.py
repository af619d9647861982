"""Player: what templates and translations of your own need of it."""

from __future__ import annotations

from flask_anam.web.player import LABELS, PageHelper

__all__ = ["LABELS", "PageHelper"]
