"""Fixtures of the report's tests."""

import functools
import json

import pytest
import vl_convert
from sample_results import build_configuration, write_results

from blossomtune.config import stage_inputs
from blossomtune.reporting.load import load_experiment


@pytest.fixture
def raw():
    """The configuration of the default experiment, for three rounds."""
    return build_configuration()


@pytest.fixture
def results(tmp_path):
    """The directory of results."""
    return tmp_path / "results"


@pytest.fixture(scope="session", autouse=True)
def converted_once():
    """Convert charts once that many tests share."""
    convert = vl_convert.vegalite_to_svg
    cached = functools.cache(lambda text, version: convert(json.loads(text), vl_version=version))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            vl_convert,
            "vegalite_to_svg",
            lambda chart, vl_version: cached(json.dumps(chart), vl_version),
        )
        yield


@pytest.fixture
def experiment(raw, results):
    """The results of the default experiment, without answers and benchmarks."""
    configuration = stage_inputs.report(write_results(results, raw))["configuration"]
    return load_experiment(results, configuration, "quickstart", "0" * 64)
