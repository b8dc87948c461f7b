"""From what YAML said to a Configuration, or to all that is wrong with it at once."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from blossomtune.config.block_conflicts import _find_cross_block_conflicts
from blossomtune.config.configuration import Configuration
from blossomtune.config.error_messages import _format_error
from blossomtune.config.references import _find_missing_references
from blossomtune.config.sft_arguments import _replace_sft_arguments, _validate_sft_arguments
from blossomtune.errors import UserError


class ConfigurationError(UserError):
    """Every fault of a configuration: key's full path, value, what is allowed, a hint."""

    def __init__(self, errors: list[str]) -> None:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__(f"{count} in the configuration\n" + "\n".join(f"  {f}" for f in errors))


def load_configuration(raw: Mapping[str, Any]) -> Configuration:
    """Checks a configuration.

    Args:
        raw: nested dictionaries as YAML gives them.

    Returns:
        The configuration, all defaults filled in.

    Raises:
        ConfigurationError: with all faults, not only the first.
    """
    typed, wrong = _validate_sft_arguments(raw)
    try:
        configuration = _replace_sft_arguments(typed, Configuration.model_validate(raw))
        faults = list(_find_cross_block_conflicts(configuration))
    except ValidationError as error:
        faults = [_format_error(fault, raw) for fault in error.errors()]
    faults += [*_find_missing_references(raw), *wrong]
    if faults:
        raise ConfigurationError(faults)
    return configuration
