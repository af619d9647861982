"""Validators: one message for each wrong value, with the path of its field."""

from typing import Any

import pytest

from flask_anam.sandbox.api.validators import (
    ValidationErrors,
    Validator,
    array_of,
    boolean,
    chain,
    number,
    object_of,
    string,
    url,
)


def _messages(validator: Validator, value: Any) -> list[tuple[tuple[str, ...], str]]:
    errors = ValidationErrors()
    validator(value, (), errors)
    return errors.messages


@pytest.mark.parametrize(
    ("validator", "valid", "invalid"),
    [
        (string(), ["", "x"], [None, 1, ["x"]]),
        (string(nullable=True), [None, "x"], [1]),
        (string(choices=("a", "b")), ["a"], ["c", ""]),
        (string(max_length=2), ["ab"], ["abc"]),
        (string(pattern="[a-z]+"), ["ab"], ["", "ab1", "AB"]),
        (url, ["https://a.b/c", "daily://room"], ["a.b", "/c", "https://", 1, "http://["]),
        (number(), [0, -1.5, 10**400], [True, "1", None]),
        (number(0.5, 2), [0.5, 2], [0.4, 2.1]),
        (number(whole=True), [2, 2.0], [2.5, "2"]),
        (boolean, [True, False], [0, 1, "true", None]),
        (array_of(boolean), [[], [True]], [{}, [1], [True, 1]]),
        (object_of({"a": boolean}), [{}, {"a": True}, {"b": 1}], [[], {"a": 1}]),
        (object_of({}, required=["a"]), [{"a": None}], [{}]),
    ],
)
def test_values_are_told_apart(validator: Validator, valid: list[Any], invalid: list[Any]) -> None:
    """A valid value gives no message, an invalid one exactly one."""
    for value in valid:
        assert _messages(validator, value) == [], value
    for value in invalid:
        assert len(_messages(validator, value)) == 1, value


def test_a_message_has_the_path_of_its_field() -> None:
    """Names of fields and positions in arrays."""
    validator = object_of({"items": array_of(object_of({"on": boolean}))}, required=["name"])
    value = {"items": [{"on": True}, {"on": 1}]}
    assert _messages(validator, value) == [
        (("name",), "Is required."),
        (("items", "1", "on"), "Must be true or false."),
    ]


def test_a_chain_ends_with_the_first_error() -> None:
    """Later validators may rely on earlier ones, also when others have added errors before."""
    first_field = chain(object_of({}), lambda value, path, errors: value["x"])
    assert _messages(first_field, 7) == [((), "Must be an object.")]
    errors = ValidationErrors()
    errors.add(("other",), "Is wrong.")
    chain(boolean, string())(True, (), errors)
    assert [message for _, message in errors.messages] == ["Is wrong.", "Must be a string."]


def test_errors_become_a_tree_and_a_summary() -> None:
    """Each node of the tree has its messages; the summary is the first one."""
    errors = ValidationErrors()
    errors.add(("a", "b"), "First.")
    errors.add(("a",), "Second.")
    errors.add((), "Third.")
    assert errors.tree() == {
        "_errors": ["Third."],
        "a": {"_errors": ["Second."], "b": {"_errors": ["First."]}},
    }
    assert errors.summary() == "a.b: First."
    alone = ValidationErrors()
    alone.add((), "Whole.")
    assert alone.summary() == "Whole."
