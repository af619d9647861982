"""Schema of a mint request: the body that Anam receives, and the rules between its parts.

Source of names and rules: Anam's OpenAPI (July 2026). Fields marked ``sdk`` are not in it, but
Anam's own SDKs send them (js-sdk 4.27, Python 0.12, LiveKit plugin 1.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, validates_schema

from flask_anam.core.schemas.base import VendorSchema
from flask_anam.core.schemas.fields import FreeObject, NestedObject, StrictString, doc, warn
from flask_anam.core.schemas.persona import PersonaConfigSchema
from flask_anam.core.schemas.secret import is_deferred
from flask_anam.core.schemas.session_options import SessionOptionsSchema

#: Avatar model -> output sizes that it supports, as (width, height) in pixels; Anam decides for
#: other models.
VIDEO_SIZES = {"cara-3": {(720, 480)}, "cara-4": {(1152, 768), (768, 1152)}}
VIDEO_SIZES["cara-4-latest"] = VIDEO_SIZES["cara-4"]
_ALL_SIZES = {size for sizes in VIDEO_SIZES.values() for size in sizes}


class MintRequestSchema(VendorSchema):
    """Schema of the body of a mint request.

    Args:
        persona_config: the schema of the persona config; None for one with the default rules.

    """

    client_label = StrictString(**doc("A name for the session in Anam's usage reports.", "web"))
    persona_config = NestedObject(PersonaConfigSchema, required=True)
    session_options = NestedObject(SessionOptionsSchema, **doc("How the session runs.", None))
    environment = FreeObject(
        keys=StrictString(),
        **doc(
            "Settings of an integration such as LiveKit. Tokens of such personas are never stored.",
            {"livekitToken": {"secret": "LIVEKIT_TOKEN"}},
            sdk=True,
        ),
    )

    def __init__(self, persona_config: PersonaConfigSchema | None = None, **kwargs: Any) -> None:
        self._persona_config = persona_config or PersonaConfigSchema()
        super().__init__(unknown_values=self._persona_config.unknown_values, **kwargs)

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Use the given schema for the persona config."""
        if field_name == "persona_config":
            field_obj.nested = self._persona_config
        super().on_bind_field(field_name, field_obj)

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_egress(self, data: Mapping[str, Any], original: Any, **_kwargs: Any) -> None:
        config, options = _object(data, "personaConfig"), _object(data, "sessionOptions")
        given = {self.outer_name(name): value for name, value in original.items()}
        if not isinstance(given.get("personaConfig"), Mapping):
            return
        names = self._persona_config.given(given["personaConfig"])
        # A field that was given but is not in `config` has an error of its own already.
        through = config.get("enableAudioPassthrough", "enableAudioPassthrough" in names)
        if "egress" in options and through is not True and not is_deferred(through):
            text = "Needs enableAudioPassthrough: true in the persona config."
            raise ValidationError({"sessionOptions": {"egress": [text]}})

    @validates_schema(skip_on_field_errors=False)
    def _check_model(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        config, options = _object(data, "personaConfig"), _object(data, "sessionOptions")
        model = config.get("avatarModel")
        if "directorNotes" in config and model == "cara-3":
            warn("directorNotes are ignored by Anam with avatarModel cara-3; use cara-4.")
        size = (options.get("videoWidth"), options.get("videoHeight"))
        if None in size or any(map(is_deferred, (model, *size))):
            return
        sizes = VIDEO_SIZES.get(model, set()) if isinstance(model, str) else _ALL_SIZES
        if sizes and size not in sizes:
            allowed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
            text = f"{model or 'Anam'} supports {allowed}, not {size[0]}x{size[1]}."
            raise ValidationError({"sessionOptions": {"videoWidth": [text]}})


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object of the body; an empty one where it is missing, wrong or deferred."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}
