"""Define the trackers that metrics of rounds can be logged to."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator

from blossomtune.config.base import require_unique
from blossomtune.errors import UserError

Tracker = Literal["trackio", "tensorboard", "wandb", "mlflow"]


def _expand_name(value: Any) -> Any:
    """Return a list for a single name."""
    return [value] if isinstance(value, str) else value


Trackers = Annotated[
    list[Tracker],
    AfterValidator(require_unique),
    BeforeValidator(_expand_name, json_schema_input_type=Tracker | list[Tracker]),
]
"""One tracker, or a list of them."""

PACKAGES = {name: name for name in get_args(Tracker)} | {"mlflow": "mlflow-skinny"}
"""Package to install, by tracker; the module has the tracker's name."""


def require_packages(trackers: Sequence[Tracker]) -> None:
    """Raise UserError if the package of a tracker is not installed here."""
    missing = [name for name in trackers if not find_spec(name)]
    if missing:
        packages = " ".join(PACKAGES[name] for name in missing)
        raise UserError(
            f"tracking: {', '.join(missing)} needs a package that is not installed: {packages}",
            f"python -m pip install {packages}, or leave out the name",
        )
