"""The conda environment file follows the lock."""

import importlib.util

import pytest
import yaml
from checkout import ROOT

ENVIRONMENT = ROOT / "envs/environment.yaml"


@pytest.fixture(scope="module")
def make_environment():
    spec = importlib.util.spec_from_file_location(
        "make_environment", ROOT / "envs/make_environment.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_environment_file_is_generated_from_the_lock(make_environment):
    lock = (ROOT / "envs/requirements.lock").read_text(encoding="utf-8")
    expected = make_environment.render_environment(make_environment.read_pins(lock))
    assert ENVIRONMENT.read_text(encoding="utf-8") == expected, "run envs/make_environment.py"


def test_environment_file_lists_every_pin_and_a_supported_python():
    environment = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert conda == ["python =3.11", "pip"]
    names = [pin.split("==")[0] for pin in pip["pip"]]
    assert {"torch", "transformers", "peft", "trl", "flwr", "pydantic"} <= set(names)
    assert all("==" in pin for pin in pip["pip"])
