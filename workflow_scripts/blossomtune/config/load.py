"""Validate a configuration and report all of its errors at once."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from blossomtune.config.block_conflicts import find_cross_block_conflicts
from blossomtune.config.configuration import Configuration
from blossomtune.config.error_messages import format_error
from blossomtune.config.references import find_missing_references
from blossomtune.config.sft_arguments import replace_sft_arguments, validate_sft_arguments
from blossomtune.errors import UserError


class ConfigurationError(UserError):
    """All errors of a configuration: the key's full path, its value, what is allowed, a hint.

    Args:
        errors: One message per error.
    """

    def __init__(self, errors: list[str]) -> None:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__(f"{count} in the configuration\n" + "\n".join(f"  {e}" for e in errors))


def load_configuration(raw: Mapping[str, Any]) -> Configuration:
    """Validate a configuration.

    Args:
        raw: Nested dictionaries as YAML has them.

    Returns:
        The configuration with all defaults.

    Raises:
        ConfigurationError: With all errors, not only the first.
    """
    typed_arguments, argument_errors = validate_sft_arguments(raw)
    try:
        configuration = replace_sft_arguments(typed_arguments, Configuration.model_validate(raw))
        errors = list(find_cross_block_conflicts(configuration))
    except ValidationError as error:
        errors = [format_error(details, raw) for details in error.errors()]
    errors += [*find_missing_references(raw), *argument_errors]
    if errors:
        raise ConfigurationError(errors)
    return configuration
