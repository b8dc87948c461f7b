"""Honest clients stay within the limits, and nobody can claim much more."""

import math

import pytest
from federation_samples import federation_spec

from blossomtune.config.training import TrainingSettings
from blossomtune.federation.messages.reply_limits import MAX_UNKNOWN_ROWS, compute_reply_limits
from blossomtune.federation.spec import ClientSpec
from blossomtune.training import schedule


def build_spec(client=None, packing=False, **arguments):
    arguments = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2} | arguments
    spec = federation_spec(training=TrainingSettings(arguments=arguments), max_update_norm=2.0)
    fields = {"name": "a", "num_rows": 20, "rank": 8, "num_examples": 20} | (client or {})
    return spec.model_copy(update={"clients": (ClientSpec(**fields),), "packing": packing})


def get_highest(spec, kind="train"):
    return {name: high for name, (_, high, _) in getattr(compute(spec), kind).items()}


def compute(spec):
    return compute_reply_limits(spec, 0)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [({"max_steps": 5}, 5), ({"num_train_epochs": 1}, 3), ({"num_train_epochs": 0.1}, 1), ({}, 8)],
)
def test_counts_are_those_of_the_schedule(arguments, steps):
    spec = build_spec(**arguments)
    assert schedule.count_local_steps(spec.training, 20) == steps
    highest = get_highest(spec)
    assert highest["num-steps"] == steps
    assert highest["num-examples"] == steps * 8
    assert highest["num-tokens"] == steps * 8 * spec.max_length
    assert highest["batch-size"] == 4


def test_packed_rows_have_as_many_examples_as_were_packed():
    """In 40 rows, each of the 20 rows is there twice."""
    spec = build_spec({"num_examples": 70}, packing=True, max_steps=5)
    assert get_highest(spec)["num-examples"] == 40 + 2 * 50
    assert get_highest(build_spec({"num_examples": 70}, packing=True, max_steps=1))[
        "num-examples"
    ] == (8 + 50)


def test_rows_of_another_organization_are_bounded_by_steps_if_these_are_known():
    external = {"num_rows": 0, "num_examples": 0}
    assert get_highest(build_spec(external, max_steps=5))["num-examples"] == 40
    unknown = get_highest(build_spec(external, num_train_epochs=1))["num-examples"]
    assert unknown == MAX_UNKNOWN_ROWS


def test_evaluated_rows_are_the_validation_rows():
    limits = compute(build_spec({"num_validation_rows": 7}))
    assert limits.evaluate["rows"][:2] == (7, 7)
    assert compute(build_spec()).evaluate["rows"][:2] == (1, MAX_UNKNOWN_ROWS)


def test_seconds_end_with_the_round():
    spec = federation_spec(round_timeout=60)
    assert get_highest(spec)["seconds"] == 60


def test_update_norm_is_relative_to_learning_rate_steps_and_size():
    spec = build_spec()
    limit = compute(spec).compute_max_update_norm(num_steps=3, num_elements=100)
    assert limit == pytest.approx(2.0 * spec.training.learning_rate_max * 3 * 10)


def test_update_norm_can_be_unlimited():
    assert compute(federation_spec()).compute_max_update_norm(1, 1) == math.inf
