"""Report the versions of the packages that training depends on."""

from importlib.metadata import version

TRAINING_PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "flwr",
    "numpy",
    "peft",
    "torch",
    "transformers",
    "trl",
)
"""Packages that can change the result of a training step."""


def get_package_versions() -> dict[str, str]:
    """Return the installed version of each training package."""
    return {name: version(name) for name in TRAINING_PACKAGES}
