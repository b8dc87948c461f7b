import math

import pytest
import torch
from artifact_samples import server_evaluation

from blossomtune.artifacts.round_record import LayerDrift
from blossomtune.federation.server.acceptance import find_non_finite_loss, find_non_finite_value

DRIFT = {"q_proj": LayerDrift(norm=1.0, average=None, best=0.5)}
TENSORS = [("a", torch.ones(2)), ("b", torch.full((1,), 3e38))]


def test_finite_result_is_accepted():
    assert find_non_finite_value(DRIFT, TENSORS) is None
    assert find_non_finite_value(None, TENSORS) is None
    assert find_non_finite_loss(server_evaluation(2.0)) is None
    assert find_non_finite_loss(None) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_result_that_is_not_finite_is_named(value):
    tensors = [*TENSORS, ("c", torch.tensor([1.0, value]))]
    assert find_non_finite_value(DRIFT, tensors) == (
        "the aggregated c holds values that are not finite"
    )
    drift = DRIFT | {"v_proj": LayerDrift(norm=1.0, average=value, best=0.5)}
    assert find_non_finite_value(drift, TENSORS) == (
        "the clients' updates of v_proj are too large to be compared"
    )
    assert find_non_finite_loss(server_evaluation(value)) == f"the held-out loss is {value:g}"


def test_loss_whose_perplexity_is_infinite_is_named():
    evaluation = server_evaluation(710.0, perplexity=math.inf)
    assert find_non_finite_loss(evaluation) == "the held-out loss is 710"
