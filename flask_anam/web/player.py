"""Template helper: ``anam`` in Jinja templates, which renders the player for a persona."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import g
from markupsafe import Markup

from flask_anam.state import AnamState, get_state
from flask_anam.web.templating import render

if TYPE_CHECKING:
    from flask import Flask

#: Texts of the player; the sentences on error codes are in ``anam-texts.js``.
#: ``{name}`` is the name of the persona, ``{time}`` a time such as "12 seconds".
LABELS: Mapping[str, str] = {
    "region": "Conversation with {name}",
    "video": "{name}, live video",
    "start": "Start conversation",
    "start_again": "Start again",
    "try_again": "Try again",
    "stop": "End",
    "mute": "Mute",
    "captions": "Captions",
    "log": "Transcript",
    "you": "You",
    "message": "Message to {name}",
    "placeholder": "Write a message",
    "send": "Send",
    "sandbox": "Sandbox, not Anam",
    "noscript": "A conversation needs JavaScript.",
    "idle": "{name} is ready when you are",
    "connecting": "Connecting to {name}",
    "live": "You are talking to {name}",
    "waiting": "One moment",
    "ended": "The conversation is over",
    "failed": "That did not work",
    "next_try": "Next try in {time}.",
    "again_in": "Try again in {time}.",
    "estimate": "A place should be free in about {time}.",
}
PREFETCH = (None, "hover", "idle")
THEMES = (None, "light", "dark")


def page_config(state: AnamState) -> dict[str, object]:
    """Return the public configuration of a page: paths and the URL of the Anam API. No secrets."""
    if state.sandbox is not None:
        state.sandbox.warm_up()  # a visitor of the page may start a conversation soon
    return _addresses(state)


def _addresses(state: AnamState) -> dict[str, object]:
    return {
        "tokenPath": state.settings.token_path,
        "urlPrefix": state.settings.url_prefix,
        "apiBaseUrl": state.settings.base_url,
        "sandbox": state.sandbox is not None,
    }


def add_to_templates(app: Flask) -> None:
    """Make ``anam`` available in the templates of an app.

    It is a global of the Jinja environment. Any other variable of that name takes precedence: an
    argument of ``render_template``, a context processor, or a global that the app set before.
    """
    app.jinja_env.globals.setdefault("anam", PageHelper())


class PageHelper:
    """Template helper: the object that templates call ``anam``. Stateless; any app can use it."""

    def head(self, *, nonce: str | None = None) -> Markup:
        """Return the tags for ``<head>``: a stylesheet, a module script and the page's addresses.

        Args:
            nonce: the nonce of the page's content security policy, if it has one. The players that
                are rendered after this, in the same request, have it too.

        """
        g._anam_nonce = nonce  # noqa: SLF001 - our own name
        return render("anam/head.html", nonce=nonce) + _block("page", _addresses(get_state()))

    def player(
        self,
        persona_type: str | None = None,
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the attribute's name
        poster: str | None = None,
        theme: str | None = None,
        captions: bool = True,
        text_input: bool = True,
        microphone: bool = True,
        prefetch: str | None = "hover",
        overrides: Mapping[str, object] | None = None,
        sdk: str | None = None,
        sdk_integrity: str | None = None,
        max_wait: float | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Markup:
        """Return a player for a persona.

        Args:
            persona_type: the persona type; the default persona if None.
            name: the name of the persona on this page; its label if None.
            id: the id of the element; ``anam-player-1`` and so on if None.
            poster: URL of a picture that is shown before the conversation.
            theme: ``"light"`` or ``"dark"``; the preference of the visitor if None.
            captions: whether captions and a transcript are shown.
            text_input: whether the visitor can write.
            microphone: whether the visitor can speak.
            prefetch: get a token in advance when the pointer or focus comes to the player
                (``"hover"``), when the page is ``"idle"``, or never (None). Never, too, if the
                server keeps no tokens (``ANAM_TOKEN_REUSE = "never"``).
            overrides: persona fields to set; the persona must allow them.
            sdk: URL of the official SDK's UMD file; a pinned release on a CDN if None.
            sdk_integrity: the integrity hash of that file (Subresource Integrity).
            max_wait: seconds to wait for a free session or a limit before giving up; 120 if None.
            texts: replacements of texts, by the names in ``LABELS`` and the error codes.

        Raises:
            UnknownPersona: if there is no such persona.
            InvalidRequest: if `persona_type` is None and there is no default persona.
            ValueError: if `prefetch` or `theme` is none of the values above.

        """
        _check("prefetch", prefetch, PREFETCH)
        _check("theme", theme, THEMES)
        state = get_state()
        persona = state.registry.choose(persona_type)
        name = name or persona.label
        labels = {**LABELS, **(texts or {})}
        config = {
            "personaType": persona.name,
            "name": name,
            "microphone": microphone,
            "texts": labels,
            "overrides": dict(overrides) if overrides else None,
            "maxWait": max_wait,
        }
        # What users that write markup must not choose.
        trusted = {
            **page_config(state),
            "prefetch": None if state.settings.token_reuse == "never" else prefetch,
            "sdk": sdk,
            "sdkIntegrity": sdk_integrity,
        }
        html = render(
            "anam/player.html",
            id=id or _next_id(),
            name=name,
            poster=poster,
            theme=theme,
            captions=captions,
            text_input=text_input,
            microphone=microphone,
            sandbox=state.sandbox is not None,
            labels=labels,
            config=_without_none(config),
        )
        return html + _block("player", _without_none(trusted))


def _block(kind: str, config: Mapping[str, object]) -> Markup:
    """Return a script element with JSON, which no sanitiser of HTML lets users write."""
    nonce = g.get("_anam_nonce")
    return render("anam/config.html", kind=kind, config=config, nonce=nonce)


def _without_none(config: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in config.items() if value is not None}


def _check(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"{name} must be one of {names}, not {value!r}.")


def _next_id() -> str:
    g._anam_players = g.get("_anam_players", 0) + 1  # noqa: SLF001 - our own name
    return f"anam-player-{g._anam_players}"  # noqa: SLF001
