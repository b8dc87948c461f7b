"""TODO docstring."""

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
"""Those that decide what a training step makes."""


def get_package_versions() -> dict[str, str]:
    """The packages' versions."""
    return {name: version(name) for name in TRAINING_PACKAGES}
