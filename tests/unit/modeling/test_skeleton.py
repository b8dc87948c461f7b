import torch

from blossomtune.modeling.load import load_model
from blossomtune.modeling.skeleton import build_skeleton


def test_skeleton_has_names_and_buffers_of_the_model_but_no_weights(tiny_model):
    skeleton, model = build_skeleton(tiny_model), load_model(tiny_model)
    assert {n: p.shape for n, p in skeleton.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    assert all(p.untyped_storage().nbytes() == 4 for p in skeleton.parameters())
    buffers = dict(skeleton.named_buffers())
    assert buffers
    assert all(value.equal(buffers[name]) for name, value in model.named_buffers())
    assert skeleton.dtype == torch.float32
    assert not skeleton.training


def test_weight_that_was_not_loaded_gives_nan(tiny_model):
    with torch.no_grad():
        assert build_skeleton(tiny_model)(input_ids=torch.tensor([[1, 2]])).logits.isnan().all()
