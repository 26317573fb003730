"""Options that are numbers take numbers: YAML's true is 1 to Python, and most likely a slip."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jmlr import options
from jmlr.config import Config, ConfigError
from jmlr.options import TrainOptions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": {"steps": True}}, "train.steps: a number is wanted, not true or false (given: True)"),
        ({"train": {"epochs": False}}, "train.epochs: a number is wanted"),
        ({"seeds": [True]}, "seeds.0: a number is wanted"),
        ({"prepare": {"questions": [{"source": "world", "shares": {"train": True}}]}}, "shares.train: a number"),
        ({"systems": {"a": {"title": "A", "train": {"steps": True}}}}, "systems.a.train: steps: a number is wanted"),
    ],
)
def test_true_and_false_are_no_numbers(given, said):
    with pytest.raises(ConfigError) as raised:
        Config.load(given)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_could_be_read_as_a_number_still_is():
    assert TrainOptions(steps=3, epochs=2).epochs == 2.0
    assert TrainOptions(steps=None).steps is None


def parts(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of."""
    inner = getattr(annotation, "__args__", ())
    return {annotation}.union(*map(parts, inner))


KINDS = {Config, *(o for o in vars(options).values() if isinstance(o, type) and issubclass(o, options.Closed))}
NUMBERS = [
    pytest.param(field, id=f"{kind.__name__}.{name}")
    for kind in sorted(KINDS, key=lambda k: k.__name__)
    for name, field in kind.model_fields.items()
    if parts(field.annotation) & {int, float} and not parts(field.annotation) & {bool, Any}
]


def test_the_numbers_are_found():
    assert len(NUMBERS) > 60


@pytest.mark.parametrize("field", NUMBERS)
def test_no_option_that_is_a_number_takes_true(field):
    wanted = TypeAdapter(Annotated[(field.annotation, *field.metadata, None)])
    for given in (True, [True], {"train": True}):
        with pytest.raises(ValidationError):
            wanted.validate_python(given)
