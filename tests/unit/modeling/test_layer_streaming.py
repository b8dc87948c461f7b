import pytest
import torch
from merge_cases import write_case
from peft import PeftModel

from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.layer_streaming import stream_layers
from blossomtune.modeling.load import load_model
from blossomtune.modeling.merged_layers import attach_adapter
from blossomtune.modeling.weight_reader import WeightReader

CPU = torch.device("cpu")
DIFFERENT = ["embeddings", "gpt2", "qwen3", "qwen3_moe", "mamba2", "hrm_text", "gemma3-vision"]
IDS = torch.tensor([[1, 7, 8, 10, 11, 12]])


@torch.no_grad()
def compute_logits(model):
    return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("name", DIFFERENT)
def test_logits_have_the_bits_of_a_model_in_memory(name, tiny_model, tmp_path):
    base, adapter = write_case(name, tmp_path, tiny_model)
    empty = build_empty_model(base, torch.nan)
    weights = WeightReader(base, empty)
    with stream_layers(empty, weights, CPU):
        assert compute_logits(empty).equal(compute_logits(load_model(base)))
    model = attach_adapter(empty, adapter)
    whole = PeftModel.from_pretrained(load_model(base), adapter).eval()
    with stream_layers(model, weights, CPU):
        assert compute_logits(model).equal(compute_logits(whole))
    with stream_layers(model, weights, CPU, merge=True):
        merged = whole.merge_and_unload(safe_merge=True)
        assert compute_logits(model).equal(compute_logits(merged))


def test_weights_are_dropped_after_a_layer(tiny_model):
    model = build_empty_model(tiny_model, torch.nan)
    sizes = []

    def measure(*_):
        storages = {p.data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
        sizes.append(sum(storages.values()))

    for layer in model.model.layers:
        layer.mlp.register_forward_hook(measure)
    with stream_layers(model, WeightReader(tiny_model, model), CPU):
        compute_logits(model)
    measure()
    layer_bytes = sum(p.numel() * 4 for p in model.model.layers[0].parameters())
    assert len(sizes) == len(model.model.layers) + 1
    assert all(layer_bytes <= size < 1.1 * layer_bytes for size in sizes[:-1])
    assert sizes[-1] <= 4 * len(list(model.parameters()))


def test_whole_model_is_loaded_where_a_layer_uses_the_weights_of_another(tiny_model):
    model = build_empty_model(tiny_model, torch.nan)
    weights = WeightReader(tiny_model, model)
    model.lm_head.forward = lambda x: x @ model.model.embed_tokens.weight.T
    with stream_layers(model, weights, CPU):
        assert compute_logits(model).isnan().all()
    with stream_layers(model, weights, CPU, whole=True):
        assert compute_logits(model).isfinite().all()
