"""Persona files: TOML or JSON, one file with several personas or a folder with one file each.

``{ secret = "ENV_NAME" }`` in place of a value reads it from the environment at each mint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask_anam.core.schemas.secret import secret
from flask_anam.errors import ConfigError


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises ValueError for a duplicate key, as the TOML parser does."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"{key!r} is given twice in one object")
        result[key] = value
    return result


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _from_toml(text: str) -> Any:
    import tomllib  # slow to import, and needed for TOML only

    return tomllib.loads(text)


_READERS: dict[str, Callable[[str], Any]] = {".toml": _from_toml, ".json": _from_json}


def read_personas(source: str) -> dict[str, Any]:
    """Return the entries by persona type, from a file or from every file of a folder.

    Raises:
        ConfigError: the path does not exist, or a file cannot be parsed or has the wrong shape;
            the text names the file, the line and the column.

    """
    path = Path(source).absolute()
    if path.is_dir():
        names = (
            file for file in path.iterdir() if not file.name.startswith(".")
        )  # hidden: a backup
        files = sorted(file for file in names if file.suffix in _READERS)
        if not files:
            raise ConfigError(
                f"ANAM_PERSONAS_FILE: the folder {path} holds no .toml or .json file."
            )
        entries: dict[str, Any] = {}
        for file in files:
            if file.stem in entries:
                raise ConfigError(
                    f"ANAM_PERSONAS_FILE: the folder {path} describes {file.stem!r} twice, in "
                    ".json and in .toml. Remove one of the two."
                )
            entries[file.stem] = _read(file)
        return entries
    personas = _read(path)
    for name, entry in personas.items():
        if not isinstance(entry, Mapping):
            raise ConfigError(
                f"ANAM_PERSONAS_FILE: {name!r} in {path} must be a table with a persona config."
            )
    return personas


def _read(path: Path) -> dict[str, Any]:
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ConfigError(f"ANAM_PERSONAS_FILE: {path} must be a folder, or end in .toml or .json.")
    try:
        content = reader(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"ANAM_PERSONAS_FILE: {path}: {exc.strerror}.") from None
    except RecursionError:
        raise ConfigError(f"ANAM_PERSONAS_FILE: {path} is nested too deeply.") from None
    except ValueError as exc:  # its text has line and column, and nothing of the content
        place = "not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc)
        raise ConfigError(f"ANAM_PERSONAS_FILE: {path} cannot be read: {place}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"ANAM_PERSONAS_FILE: {path} must hold an object.")
    return {key: _with_secrets(value) for key, value in content.items() if key != "$schema"}


def _with_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"secret"} and isinstance(value["secret"], str):
            return secret(value["secret"])
        return {key: _with_secrets(part) for key, part in value.items()}
    return [_with_secrets(part) for part in value] if isinstance(value, list) else value
