"""Base classes of errors and warnings, and the errors of an app's own configuration."""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar


class PersonaWarning(UserWarning):
    """Warning: a persona config that Anam accepts but that may not do what it says.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("error", PersonaWarning)  # such a config fails the tests

    """


#: Field name to messages, nested where the field is an object; safe to show to a browser.
Details = dict[str, object]


class AnamError(Exception):
    """Base class of all errors of this package.

    Attributes:
        code: stable machine-readable name (str), also the ``code`` of the JSON answer.
        status: HTTP status (int) that our own routes answer with.
        retryable: whether (bool) the same call may succeed later without a change by the caller.
        retry_after: seconds (1 to 300) to wait before a retry, or None. Always set on a 503.
        details: field name to list of messages, nested where the field is an object, or None.

    Example:
        >>> try:
        ...     anam.create_token("nobody")
        ... except AnamError as error:
        ...     print(error.status, error.code, error.retryable)
        404 unknown_persona False

    """

    __module__ = "flask_anam.errors"

    code: ClassVar[str] = "anam_error"
    status: ClassVar[int] = 500
    retryable: bool = False
    default_text: ClassVar[str] = "Something went wrong."
    default_retry_after: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("flask_anam.errors."):
            cls.__module__ = "flask_anam.errors"  # the public name, in pickles and tracebacks too

    def __init__(
        self,
        text: str | None = None,
        *,
        retry_after: float | None = None,
        retryable: bool | None = None,
        details: Details | None = None,
    ) -> None:
        super().__init__(text or self.default_text)
        if retryable is not None:
            self.retryable = retryable
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        self.details = details

    @property
    def text(self) -> str:
        """The message for people; holds no secret."""
        return str(self.args[0])

    @property
    def public_text(self) -> str:
        """The message that a browser may read: `text`, unless that is for the log only."""
        return self.text

    def again(self) -> Self:
        """Return an equal error without a traceback, to be raised in another thread.

        Example:
            >>> AnamError("Try later.", retry_after=5).again().retry_after
            5

        """
        return _rebuild(type(self), self.args, vars(self))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, vars(self))


E = TypeVar("E", bound=AnamError)


def _rebuild(kind: type[E], args: tuple[object, ...], facts: dict[str, object]) -> E:
    """Make an error from its parts, for copy, pickle and `AnamError.again`."""
    twin = kind.__new__(kind)
    twin.args = args
    vars(twin).update(facts)
    return twin


_rebuild.__module__ = "flask_anam.errors"  # its name in pickles


class ConfigError(AnamError):
    """The configuration of the app is wrong; the text names the key and the cure.

    Example:
        >>> FlaskAnam(Flask("shop"))  # without ANAM_API_KEY
        Traceback (most recent call last):
            ...
        flask_anam.errors.ConfigError: ANAM_API_KEY must be set: it is missing. ...

    """

    code = "config_error"
    default_text = "Flask-Anam is not set up correctly."


class PersonaInvalid(AnamError):
    """A persona config of this app is invalid, or its callable raised.

    The text says why and goes to the log; browsers get `public_text`.

    Example:
        >>> anam.add_persona("coach", lambda user: {"personaId": "7"})
        >>> anam.create_token("coach")
        Traceback (most recent call last):
            ...
        flask_anam.errors.PersonaInvalid: Persona 'coach' is not valid: personaId: Not a UUID ...

    """

    code = "persona_invalid"
    default_text = "This persona is not set up correctly."

    @property
    def public_text(self) -> str:
        """The default text, since a config is not the caller's to see."""
        return self.default_text
