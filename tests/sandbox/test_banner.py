"""Startup banner."""

from __future__ import annotations

from flask_anam.sandbox import Sandbox
from flask_anam.sandbox.banner import startup_banner


def test_the_startup_banner_names_every_way_in() -> None:
    """The app's settings, both SDKs and the extra."""
    with Sandbox() as sandbox:
        text = startup_banner(sandbox)
    assert f'ANAM_BASE_URL = "{sandbox.url}"' in text
    assert f'createClient(token, {{ api: {{ baseUrl: "{sandbox.url}" }} }})' in text
    assert f'ClientOptions(api_base_url="{sandbox.url}")' in text
    assert 'pip install "Flask-Anam[sandbox]"' in text
