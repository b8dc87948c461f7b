import pytest
import tiny_architectures
from adapter_training import LORA
from peft.tuners.lora import Linear

from blossomtune.training import adapter
from blossomtune.training.layer_groups import find_layer_groups


def find_short_groups(architecture, targets="all-linear"):
    """Return the last parts of the grouped layers' names, without groups of one layer."""
    lora = LORA.model_copy(update={"target_modules": targets})
    model = adapter.build_peft_model(tiny_architectures.build_model(architecture), lora, seed=1)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Linear)}
    groups = find_layer_groups(model, layers)
    assert sorted(name for group in groups for name in group) == sorted(layers)
    return {tuple(n.rpartition(".")[2] for n in group) for group in groups if len(group) > 1}


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("llama", {("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")}),
        ("gemma3-vision", {("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")}),
        ("mamba2", set()),
    ],
)
def test_layers_with_the_same_input_form_a_group(architecture, expected):
    assert find_short_groups(architecture) == expected


def test_only_the_given_layers_are_grouped():
    assert find_short_groups("llama", ["q_proj", "v_proj"]) == {("q_proj", "v_proj")}


def test_model_that_cannot_run_has_no_groups(training_setup, monkeypatch):
    model, *_ = training_setup
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Linear)}
    monkeypatch.setattr(model.get_base_model().model, "embed_tokens", None)
    assert find_layer_groups(model, layers) == [[name] for name in layers]
