"""A whole plan on tiny results: table, refusal with hints, and one really measured step."""

import pytest

from blossomtune.artifacts.plan import Machine
from blossomtune.files import read_json
from blossomtune.planning.make_plan import make_plan
from blossomtune.planning.problems import compute_total
from blossomtune.planning.table import format_plan

LARGE = Machine(ram=10**11, gpus=[], disk=10**11)


def get_stages(plan):
    return {needs.stage: needs for needs in plan.stages}


def test_step_is_measured_where_it_fits(results, build_config):
    config = build_config(baselines={"centralised": True})
    plan = make_plan(config, results, 2, {}, LARGE)
    stages = get_stages(plan)
    assert list(stages) == [
        *("fetch_model", "download", "partition", "preprocess"),
        *("federate", "train_baseline", "merge", "evaluate"),
    ]
    federate = stages["federate"]
    assert federate.basis == "measured"
    [process] = [part for part in federate.ram if part.part == "training process"]
    assert process.count == 2  # clients at once on two cores
    assert process.size > 10**8
    least, most = federate.seconds
    assert 0 < least < most
    assert stages["train_baseline"].seconds[1] == pytest.approx(2 * most)  # both clients' steps
    assert all(not needs.problems for needs in plan.stages)
    assert "federate x" in format_plan(plan)


def test_benchmarks_and_exports_are_planned_where_they_are_asked_for(results, build_config):
    config = build_config(benchmarks=["arc_easy"], gguf=["f16", "q8_0"])
    stages = get_stages(make_plan(config, results, 2, {"federate": 1}, LARGE))
    assert list(stages)[-4:] == ["merge", "evaluate", "benchmark", "export"]
    assert stages["export"].disk == 30_000 * 2 + 30_000 * 34 // 32
    rows = config["x"]["evaluation"]["batch_size"]
    vocabulary = read_json(results / "models/tiny/config.json")["vocab_size"]
    (_, weights, activations) = stages["benchmark"].ram
    assert weights == stages["evaluate"].ram[1]
    assert activations.size >= 2 * rows * 512 * vocabulary * 4  # logits and log-probabilities
    assert activations.size > stages["evaluate"].ram[2].size
    small = LARGE.model_copy(update={"ram": 10**8})
    [problem] = get_stages(make_plan(config, results, 2, {}, small))["benchmark"].problems
    assert "questions of 512 tokens" in problem
    assert "evaluation.batch_size: a smaller one" in problem


def test_what_cannot_fit_is_refused_before_a_step_is_measured(results, build_config):
    machine = LARGE.model_copy(update={"ram": 10**8})
    plan = make_plan(build_config(), results, 2, {}, machine)
    federate = get_stages(plan)["federate"]
    assert (federate.basis, federate.seconds) == ("estimated", None)
    [problem] = federate.problems
    assert "0.1 GB are free" in problem
    hints = [line for line in problem.splitlines() if line.startswith("  - ")]
    assert "federation.threads_per_client: 2, so that one client trains at a time" in hints[0]
    assert any("gradient_checkpointing: true" in hint for hint in hints)
    assert any("per_device_train_batch_size: 2" in hint for hint in hints)
    assert any("preprocessing.max_length: 14" in hint for hint in hints)


def test_shares_of_a_gpu_add_up(results, build_config):
    machine = LARGE.model_copy(update={"gpus": [10**6]})
    plan = make_plan(build_config(gpus_per_client=0.5), results, 2, {}, machine)
    federate = get_stages(plan)["federate"]
    assert {part.count for part in federate.gpu} == {2}  # both clients on the one GPU
    assert compute_total(federate.gpu) > 2 * 500 * 2**20
    [problem] = federate.problems
    assert "of a GPU" in problem
    assert "federation.gpus_per_client: 1" in problem
