"""Define the base class and the field types of all configuration blocks."""

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
    """A block of the configuration; it refuses unknown keys and is immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


FloatType = Literal["float32", "bfloat16", "float16"]
"""Names of PyTorch's data types for weights and computation."""


def with_error_message(message: str) -> WrapValidator:
    """Return a validator that replaces pydantic's errors by one message.

    Args:
        message: Description of the allowed values.

    Returns:
        Validator for ``Annotated``.
    """

    def validate(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("custom_message", message) from None

    return WrapValidator(validate)


def allow_name_shorthand(block_type: Any, names: Iterable[str]) -> BeforeValidator:
    """Return a validator that accepts a name instead of a block with defaults.

    Args:
        block_type: Union of the allowed blocks.
        names: Names of these blocks.

    Returns:
        Validator for ``Annotated``.
    """

    def expand_name(value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping | Block):
            raise PydanticCustomError("custom_message", "a name, or a block of name and parameters")
        return value

    return BeforeValidator(expand_name, json_schema_input_type=Literal[tuple(names)] | block_type)


def require_unique(values: list[str]) -> list[str]:
    """Return the values; raise ValueError if one is repeated."""
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{', '.join(map(repr, repeated))} is listed twice")
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

# nothing is rendered; an optimized environment would compute constants, without limits
_JINJA = Environment(autoescape=False, optimized=False)  # noqa: S701


def _validate_template(text: str) -> str:
    """Return the text; raise ValueError if it is not a Jinja2 template."""
    try:
        _JINJA.parse(text)
    except TemplateSyntaxError as error:
        access = _describe_row_access(error, '{{ row["any name"] }}')
        raise ValueError(
            f"not a valid template: {error.message} (line {error.lineno}){access}"
        ) from None
    except RecursionError:
        raise ValueError("not a valid template: nested too deeply") from None
    return text


def _validate_expression(text: str) -> str:
    try:
        _JINJA.compile_expression(text)
    except TemplateSyntaxError as error:
        access = _describe_row_access(error, 'row["any name"]')
        raise ValueError(f"not a valid expression: {error.message}{access}") from None
    except (RecursionError, SyntaxError):  # of Python, for which Jinja2 writes code
        raise ValueError("not a valid expression: nested too deeply") from None
    return text


def _describe_row_access(error: TemplateSyntaxError, access: str) -> str:
    """Return how to read a column whose name is no word, if one may be meant; else nothing."""
    signs = ("expected token 'end of print statement'", "chunk after expression", "unexpected char")
    if not (error.message or "").startswith(signs):
        return ""
    return f"; write {access} for a column whose name is no plain word"


JinjaTemplate = Annotated[NonEmptyStr, AfterValidator(_validate_template)]
JinjaExpression = Annotated[NonEmptyStr, AfterValidator(_validate_expression)]


def _reject_bool(value: Any) -> Any:
    """Raise an error for booleans: without it, `rounds: yes` would be one round."""
    if isinstance(value, bool):
        raise PydanticCustomError("custom_message", "a number")
    return value


REJECT_BOOL = BeforeValidator(
    _reject_bool
)  # goes last in Annotated: it would hide constraints after it
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
"""A number of rows, or a share of them below 1."""
