"""``anam`` in templates: what puts a persona on a page with two calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import g
from markupsafe import Markup

from flask_anam.state import AnamState, get_state
from flask_anam.web.templating import render

if TYPE_CHECKING:
    from flask import Flask

#: What the player says, but for the sentences on error codes, which are in ``anam-texts.js``.
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
    """Return what a page needs to know, safe to show: paths, and where the Anam API is."""
    if state.sandbox is not None:
        state.sandbox.warm_up()  # whoever sees the page may click in a moment
    return {
        "tokenPath": state.settings.token_path,
        "urlPrefix": state.settings.url_prefix,
        "apiBaseUrl": state.settings.base_url,
        "sandbox": state.sandbox is not None,
    }


def add_to_templates(app: Flask) -> None:
    """Offer ``anam`` to the templates of an app.

    As a global of Jinja it gives way to whatever else is called so: a variable handed to
    ``render_template``, one of a context processor, or a global that the app had before.
    """
    app.jinja_env.globals.setdefault("anam", PageHelper())


class PageHelper:
    """What templates know as ``anam``; keeps nothing of an app."""

    def head(self, *, nonce: str | None = None) -> Markup:
        """Return the tags for the page's head: one stylesheet and one module script.

        Args:
            nonce: the nonce of the page's content security policy, if it uses one.

        """
        return render("anam/head.html", nonce=nonce)

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
            persona_type: which persona; the default one for None.
            name: what the persona is called here; its label if None.
            id: the id of the element; ``anam-player-1`` and so on if None.
            poster: URL of a picture to show before the conversation.
            theme: ``"light"`` or ``"dark"``; what the visitor prefers if None.
            captions: whether there are captions and a transcript.
            text_input: whether the visitor can write.
            microphone: whether the visitor can speak.
            prefetch: get a token in advance when the pointer or focus comes to the player
                (``"hover"``), when the page is ``"idle"``, or never (None).
            overrides: persona fields to set, of those that the persona allows.
            sdk: URL of the official SDK's UMD file; a pinned release on a CDN if None.
            sdk_integrity: hash of that file.
            max_wait: seconds to wait for a place or a limit before giving up; 120 if None.
            texts: other texts, by the names in ``LABELS`` and the error codes.

        Raises:
            UnknownPersona: there is no such persona.
            InvalidRequest: `persona_type` is None and there is no default.
            ValueError: `prefetch` or `theme` is another text.

        """
        _check("prefetch", prefetch, PREFETCH)
        _check("theme", theme, THEMES)
        state = get_state()
        persona = state.registry.choose(persona_type)
        name = name or persona.label
        labels = {**LABELS, **(texts or {})}
        config = {
            **page_config(state),
            "personaType": persona.name,
            "name": name,
            "microphone": microphone,
            "prefetch": prefetch,
            "texts": labels,
            "overrides": dict(overrides) if overrides else None,
            "sdk": sdk,
            "sdkIntegrity": sdk_integrity,
            "maxWait": max_wait,
        }
        return render(
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
            config={key: value for key, value in config.items() if value is not None},
        )


def _check(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        names = ", ".join(repr(one) for one in known)
        raise ValueError(f"{name} must be one of {names}, not {value!r}.")


def _next_id() -> str:
    g._anam_players = g.get("_anam_players", 0) + 1  # noqa: SLF001 - our own name
    return f"anam-player-{g._anam_players}"  # noqa: SLF001
