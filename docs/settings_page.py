"""Generator of the page of settings, from the table in the code, `Settings`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from flask_anam.core.config.settings import Settings, key_of

if TYPE_CHECKING:
    from dataclasses import Field

INTRO = """\
# Configuration

Flask-Anam reads its settings from `app.config` once, in `FlaskAnam(app)` or `init_app(app)`.
Later changes of `app.config` have no effect. Every key starts with `ANAM_`.

Only `ANAM_API_KEY` is required, and only without `ANAM_SANDBOX = True`.

```python
app.config.update(
    ANAM_API_KEY=os.environ["ANAM_API_KEY"],
    ANAM_PERSONAS={"support": {"personaId": "..."}},
    ANAM_CACHE="redis://localhost:6379/0",
)
```

## Wrong values

A wrong value stops the app at start-up with a `ConfigError`. The message contains the key, the
expected value and how to fix it, but no secret:

```text
ANAM_TOKEN_RATE_LIMIT must be a rate limit such as "10 per hour", got 'ten'.
Use the notation of Flask-Limiter; several limits are separated by a semicolon.
```

A key that resembles a setting, such as `ANAM_API_KEYS`, causes a warning with the correct name.

## From the environment

Flask can read settings from variables that start with `FLASK_`. Call this before `FlaskAnam(app)`:

```python
app.config.from_prefixed_env()  # FLASK_ANAM_API_KEY becomes ANAM_API_KEY
```

Flask parses such values as JSON if possible. An API key that is a number must be quoted inside the
variable.

## Where tokens are kept

`ANAM_CACHE` is a cachelib object or a URL.

| URL | Stored in | Shared between workers | Needs |
|---|---|---|---|
| `memory://` | this process | no | |
| `null://` | nowhere | no | |
| `file:///var/lib/app/anam` | files in that folder | on one machine | |
| `redis://host:6379/0`, `rediss://...` | Redis | yes | `redis` (extra `redis`) |
| `memcached://host:11211` | memcached; several hosts are separated by commas | yes | `pymemcache` |
| `dynamodb://table` | DynamoDB | yes | `boto3` |
| `mongodb://host/database?collection=tokens` | MongoDB | yes | `pymongo` |

With several workers, use a shared cache. The report that a conversation has started may reach
another worker than the one that stored its token, and that worker needs to find the token.

A cache that other processes can read needs a `SECRET_KEY`, because its entries are signed.

## Rotating the API key

`ANAM_API_KEY` can be a callable. It is called before each request to Anam, so a new key is used at
once. Tokens that were stored for the old key are not handed out any more.

```python
app.config["ANAM_API_KEY"] = lambda: read_secret("anam-api-key")
```

## All settings
"""


def render() -> str:
    """Return the whole page as Markdown."""
    return "\n".join([INTRO, *(_section(row) for row in fields(Settings))])


def _section(row: Field[Any]) -> str:
    facts = row.metadata
    lines = {"Type": facts["type"], "Unit": facts["unit"], "Default": _default(facts["default"])}
    listed = "\n\n".join(f"{name}\n: {value}" for name, value in lines.items() if value)
    return f"### {key_of(row)}\n\n{facts['help']}\n\n{listed}\n"


def _default(value: object) -> str:
    if value is None:
        return "none"
    if value in ((), {}):
        return "empty"
    return f"`{value!r}`"
