"""Startup banner of the commands that run a sandbox."""

from flask_anam.sandbox.server import Sandbox


def startup_banner(sandbox: Sandbox) -> str:
    """Return the text that says how to point an app, or an SDK of Anam, at a sandbox."""
    return (
        "This is the Flask-Anam sandbox, not Anam. Point an app at it with:\n"
        f'  ANAM_BASE_URL = "{sandbox.url}"\n'
        f'  ANAM_API_KEY = "{sandbox.api_key}"\n'
        "or an SDK of Anam's, which then shows a synthetic persona:\n"
        f'  JavaScript: createClient(token, {{ api: {{ baseUrl: "{sandbox.url}" }} }})\n'
        f'  Python:     AnamClient(..., options=ClientOptions(api_base_url="{sandbox.url}"))\n'
        'Video and sound need: pip install "Flask-Anam[sandbox]".\n'
        "Stop it with Ctrl+C.\n"
    )
