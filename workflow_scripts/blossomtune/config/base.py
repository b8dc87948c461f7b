"""What the blocks of the configuration are made of."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from jinja2 import Environment, TemplateSyntaxError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WrapValidator,
)
from pydantic_core import PydanticCustomError


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


def with_error_message(message: str) -> WrapValidator:
    """One message in words for a pattern, or where a value may be of several types."""

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("in_words", message) from None

    return WrapValidator(check)


def allow_name_shorthand(block_type: Any, names: Iterable[str]) -> BeforeValidator:
    """Lets a name stand for the block of that name, with nothing else said.

    Args:
        blocks: type of all the blocks that may stand there.
        names: of these blocks.
    """

    def by_name(value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping | Block):
            raise PydanticCustomError("in_words", "a name, or a block of name and parameters")
        return value

    return BeforeValidator(by_name, json_schema_input_type=Literal[tuple(names)] | block_type)


def require_unique(values: list[str]) -> list[str]:
    """The values, if none of them stands there twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} stands there twice")
    return values


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
    with_error_message(
        "text of letters, digits, '_', '.' and '-' that starts with a letter or a digit"
    ),
]
Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    with_error_message("64 digits of 0-9 and a-f, in quotes where all are 0-9"),
]
NonEmptyStr = Annotated[str, StringConstraints(min_length=1)]


def _validate_template(text: str) -> str:
    """The text, if it is Jinja2; what it writes is for the rows to show."""
    try:
        Environment(autoescape=False).parse(text)  # noqa: S701 - nothing is rendered
    except TemplateSyntaxError as error:
        raise ValueError(f"not a valid template: {error.message} (line {error.lineno})") from None
    return text


def _validate_expression(text: str) -> str:
    try:
        Environment(autoescape=False).compile_expression(text)  # noqa: S701
    except TemplateSyntaxError as error:
        raise ValueError(f"not a valid expression: {error.message}") from None
    return text


JinjaTemplate = Annotated[NonEmptyStr, AfterValidator(_validate_template)]
JinjaExpression = Annotated[NonEmptyStr, AfterValidator(_validate_expression)]


def _reject_bool(value: Any) -> Any:
    """Without this, `rounds: yes` would be one round."""
    if isinstance(value, bool):
        raise PydanticCustomError("in_words", "a number")
    return value


REJECT_BOOL = BeforeValidator(_reject_bool)  # stands last: what is before it would lose its meaning
Integer = Annotated[int, REJECT_BOOL]
PositiveInt = Annotated[int, Field(ge=1), REJECT_BOOL]
NonNegativeInt = Annotated[int, Field(ge=0), REJECT_BOOL]
PositiveFraction = Annotated[float, Field(gt=0, le=1), REJECT_BOOL]
PositiveFloat = Annotated[float, Field(gt=0), REJECT_BOOL]
NonNegativeFloat = Annotated[float, Field(ge=0), REJECT_BOOL]
CountOrFraction = Annotated[
    PositiveInt | Annotated[float, Field(gt=0, lt=1), REJECT_BOOL],
    with_error_message("a number of rows of at least 1, or a share of them between 0 and 1"),
]
"""Rows, or a share of them below 1."""
