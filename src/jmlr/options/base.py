"""What all options are made of: closed models, number types, and a field with its help text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(given: Any) -> Any:
    if isinstance(given, bool):  # which Python counts among the integers
        raise ValueError(f"a number is wanted, not true or false (given: {given})")
    return given


numeric = BeforeValidator(_number)  # stands last: before a Field, the schema would lose that one's bounds
Whole = Annotated[int, numeric]
Number = Annotated[float, numeric]
Count = Annotated[int, Field(ge=0), numeric]
Positive = Annotated[int, Field(ge=1), numeric]
Rate = Annotated[float, Field(ge=0), numeric]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Closed(BaseModel):
    """A model that refuses unknown keys and cannot be changed after it was checked."""

    # Each is built where it is first used: a stage uses a few of all.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)


def option(default: Any, description: str, **rules: Any) -> Any:
    """Return a field with its default (a value, or what makes one) and its help text."""
    return (
        Field(default_factory=default, description=description, **rules)
        if callable(default)
        else Field(default, description=description, **rules)
    )
