"""Tests that a head alone gives the logits of the whole model."""

import pytest
import torch
import transformers
from tiny_architectures import GEMMA, SMALL, TEXT_MODELS, VISION_MODELS, build_model

from blossomtune.modeling.lm_head import is_separable, run_backbone

HEADS = {  # what a head does besides one product
    "soft cap": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**GEMMA, "final_logit_softcapping": 2.0},
    ),
    "division": ("GraniteForCausalLM", "GraniteConfig", {"logits_scaling": 8.0}),
    "scale": ("CohereForCausalLM", "CohereConfig", {"logit_scale": 0.1}),
    "bias": ("PhiForCausalLM", "PhiConfig", {"tie_word_embeddings": False}),
    "another name": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {}),
}


def build_head(name):
    """Return a random model of ``HEADS``."""
    model_class, config_class, values = HEADS[name]
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**(SMALL | values))
    return getattr(transformers, model_class)(config).eval()


@pytest.mark.parametrize("name", [*TEXT_MODELS, *VISION_MODELS, *HEADS])
def test_head_alone_gives_the_models_logits(name):
    model = build_head(name) if name in HEADS else build_model(name)
    ids = torch.tensor([[3, 4, 5, 6, 7, 8, 9]])
    assert is_separable(model)
    with torch.inference_mode():
        output = run_backbone(model, {"input_ids": ids})
        logits = output.compute_logits(output.hidden_states[0, 2:5])
        expected = model(ids).logits[0, 2:5]  # the backbone runs again after its replacement
    assert torch.allclose(logits, expected, rtol=1e-5, atol=1e-5)


class OtherBackbone(transformers.LlamaForCausalLM):
    """A model that computes more than its backbone and its head."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        if kwargs["input_ids"].any():
            output.logits = output.logits + 1
        return output


def test_model_whose_head_reads_more_than_hidden_states_is_refused():
    torch.manual_seed(0)
    assert not is_separable(OtherBackbone(transformers.LlamaConfig(**SMALL)))


def test_wrapped_forward_of_a_backbone_is_restored():
    model = build_model("llama")
    wrapped = model.model.forward
    model.model.forward = lambda *args, **kwargs: wrapped(*args, **kwargs)
    before = dict(vars(model.model))
    output = run_backbone(model, {"input_ids": torch.tensor([[3, 4, 5]])})
    output.compute_logits(output.hidden_states[0])
    assert vars(model.model) == before and not model.model._forward_hooks
