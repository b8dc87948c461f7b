"""The default configuration, and helpers to change it and to read its errors."""

import copy
from pathlib import Path

import pytest
import yaml

from blossomtune.config.load import ConfigurationError, load_configuration

FILE = Path(__file__).parents[2] / "config" / "config.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SOURCE = "models.smollm2-135m-instruct.source"
DATA = "datasets.vader-sentiment"
PARTITION = "partitions.by-domain"
EXPERIMENT = "experiments.quickstart"
ARGUMENTS = f"{EXPERIMENT}.training.arguments"
FEDERATION = f"{EXPERIMENT}.federation"
PRIVACY = f"{FEDERATION}.privacy"


def set_values(raw, changes):
    """Return a copy of a configuration with other values, by path."""
    raw = copy.deepcopy(raw)
    for path, value in changes.items():
        *parents, last = path.split(".")
        block = raw
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return raw


def get_errors(raw):
    """Return the errors of a configuration, one line per error."""
    with pytest.raises(ConfigurationError) as error:
        load_configuration(raw)
    first, *lines = str(error.value).splitlines()
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    assert first == f"{count} in the configuration"
    return [line.removeprefix("  ") for line in lines]


def get_errors_of_blocks(**sections):
    """Return the errors of the default with more blocks."""
    return get_errors({**RAW, **{name: RAW[name] | more for name, more in sections.items()}})
