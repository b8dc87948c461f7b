"""What a user may say, and what of it each stage uses."""

from blossomtune.config.blocks import Configuration
from blossomtune.config.load import ConfigurationError, load

__all__ = ["Configuration", "ConfigurationError", "load"]
