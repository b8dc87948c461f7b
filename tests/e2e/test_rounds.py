"""Rounds of a federation: resuming, aggregation, evaluation, early stopping and privacy."""

import math
import shutil

import pytest
import torch
from artifact_samples import server_evaluation
from flwr.app import MessageType
from local_grid import LocalGrid, build_experiment, drop_seconds, hash_adapter, load_adapter

from blossomtune.errors import UserError
from blossomtune.federation.client import worker
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD
from blossomtune.federation.server import aggregate_round, rounds
from blossomtune.federation.server.evaluator import ServerEvaluator

STATEFUL = {
    "momentum": {"strategy": "fedavgm"},
    "adam": {"strategy": "fedadam"},
    "adam by factor": {"strategy": "fedadam", "aggregation": "rolora"},
    "control variates": {"strategy": "scaffold"},
    "optimizers": {"training": {"optimizer_state": "kept"}},
    "optimizers by factor": {"training": {"optimizer_state": "kept"}, "aggregation": "rolora"},
    "adopt": {"training": {"optimizer_state": "kept"}, "arguments": {"optim": "adopt"}},
    "remainders": {"communication": {"precision": "int8"}},
    "remainders of one factor": {"communication": {"precision": "int8"}, "aggregation": "rolora"},
    "a changed base": {"aggregation": "fedex"},
    "a changed base, mixed": {"aggregation": "flora", "lora": {"ranks": [2, 3, 4]}},
    "noise": {"aggregation": "ffa", "privacy": {"clipping": "adaptive"}},
    "noise of clients": {"privacy": {"clipping": "adaptive", "side": "client"}},
    "dropout": {"lora": {"dropout": 0.3}, "arguments": {"neftune_noise_alpha": 5.0}},
}
"""Federations with state that lasts from round to round, on the server or on the clients."""


@pytest.mark.parametrize("keys", STATEFUL.values(), ids=STATEFUL)
def test_run_resumed_after_each_round_equals_an_uninterrupted_run(train, keys):
    """Two of the three clients train per round, and replies arrive in another order."""
    keys = {"fraction_train": 0.6, "evaluate_rows": 4} | keys
    whole, history = train(build_experiment(rounds=3, **keys), "whole", order=[102, 101, 100])
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 2, 2, 2]
    for number in (1, 2, 3):
        worker.get_worker.cache_clear()  # as in a new process
        run, resumed = train(build_experiment(rounds=number, **keys), "parts")
        shutil.rmtree(run.paths.adapter)
    run, resumed = train(build_experiment(rounds=3, **keys), "parts")
    assert hash_adapter(run) == hash_adapter(whole)
    assert drop_seconds(resumed) == drop_seconds(history)


def test_round_without_a_finite_loss_is_dropped_and_the_run_goes_on(train, monkeypatch):
    """Clients never see the base update of such a round, and a resumed run drops the same one."""
    evaluate = ServerEvaluator.evaluate

    def spoil_round_2(evaluator, state, base_deltas):
        evaluation = evaluate(evaluator, state, base_deltas)
        return evaluation.model_copy(update={"loss": math.nan} if 2 in base_deltas else {})

    monkeypatch.setattr(ServerEvaluator, "evaluate", spoil_round_2)  # the fault; evaluates first
    keys = {"aggregation": "fedex", "fraction_evaluate": 1.0, "evaluate_rows": 4}
    whole, history = train(build_experiment(rounds=3, **keys), "whole")
    assert [r["rejection"] for r in history["rounds"]] == [
        *(None, None, "the held-out loss is nan", None)
    ]
    assert [r["evaluation"] is None for r in history["rounds"]] == [False, False, True, False]
    assert [r["client_evaluation"] is None for r in history["rounds"]] == [True, False, True, False]
    for number in (1, 2, 3):
        worker.get_worker.cache_clear()  # as in a new process
        run, resumed = train(build_experiment(rounds=number, **keys), "parts")
    assert hash_adapter(run) == hash_adapter(whole)
    assert drop_seconds(resumed) == drop_seconds(history)


def test_model_whose_loss_is_not_finite_is_not_trained(train, monkeypatch):
    evaluation = server_evaluation(math.nan)
    monkeypatch.setattr(ServerEvaluator, "evaluate", lambda *_: evaluation)  # the fault
    with pytest.raises(UserError, match=r"the held-out loss is nan before any training\n.*dtype"):
        train(build_experiment(rounds=1))


def test_order_of_arrival_does_not_change_the_adapter(train):
    one, first = train(build_experiment(), "one", order=[100, 101, 102])
    two, second = train(build_experiment(), "two", order=[102, 100, 101])
    assert hash_adapter(one) == hash_adapter(two)
    assert drop_seconds(first) == drop_seconds(second)


def test_clients_are_weighted_by_rows_trained_on_or_rows_held(train, monkeypatch):
    """All train on the same number of rows, and hold 12, 16 and 20."""
    send_reply, states = LocalGrid._reply, {}

    def record(grid, message):
        reply = send_reply(grid, message)
        if message.metadata.message_type == MessageType.TRAIN:
            states[message.metadata.dst_node_id - 100] = codec.decode(reply.content[ADAPTER_RECORD])
        return reply

    monkeypatch.setattr(LocalGrid, "_reply", record)  # records; the real method replies
    expected = {"trained": (1 / 3, 1 / 3, 1 / 3), "held": (1 / 4, 1 / 3, 5 / 12)}
    for client_weights, weights in expected.items():
        run, _ = train(build_experiment(rounds=1, client_weights=client_weights), client_weights)
        for name, value in load_adapter(run).items():
            average = sum(weight * states[i][name] for i, weight in enumerate(weights))
            assert torch.allclose(value, average, atol=1e-7)


def test_ffa_trains_only_b_and_rolora_alternates_the_factors(train):
    from blossomtune.modeling.load import load_model
    from blossomtune.training import adapter

    def list_changed_factors(aggregation, rounds):
        experiment = build_experiment(aggregation=aggregation, rounds=rounds)
        run, _ = train(experiment, f"{aggregation}{rounds}")
        initial = adapter.get_adapter_state(
            adapter.build_peft_model(load_model(run.paths.model), run.spec.lora, run.spec.seed)
        )
        final = load_adapter(run)
        return {n.split(".")[-2] for n in initial if not torch.equal(final[n], initial[n])}

    assert list_changed_factors("ffa", 2) == {"lora_B"}
    assert list_changed_factors("rolora", 1) == {"lora_B"}
    assert list_changed_factors("rolora", 2) == {"lora_A", "lora_B"}


@pytest.mark.parametrize("aggregation", ["flora", "fedex"])
def test_written_adapter_contains_the_deltas_of_the_base(train, aggregation):
    """Base model and written adapter alone have the loss that the server measured."""
    from peft import PeftModel

    from blossomtune.modeling.eval_loss import ServerEvalSet
    from blossomtune.modeling.load import load_model

    run, history = train(build_experiment(aggregation=aggregation, rounds=3))
    model = PeftModel.from_pretrained(load_model(run.paths.model), run.paths.adapter)
    eval_set = ServerEvalSet(run.paths.preprocessed, 10, run.spec.seed)
    result = eval_set.evaluate(model)
    assert result.loss == pytest.approx(history["rounds"][-1]["evaluation"]["loss"], abs=1e-4)


def test_drift_is_zero_for_one_trained_factor_and_positive_for_two(train):
    drift = {}
    for aggregation in ("fedavg", "ffa"):
        _, history = train(build_experiment(aggregation=aggregation), aggregation)
        layers = history["rounds"][-1]["drift"]
        assert "layers.0.self_attn.q_proj" in layers
        drift[aggregation] = max(numbers["average"] for numbers in layers.values())
        assert all(0 <= n["best"] <= 1 for n in layers.values())
    assert drift["ffa"] == 0
    assert drift["fedavg"] > 0.01


def test_early_stopping_keeps_the_best_round(train):
    rates = {"learning_rate_max": 0.3, "learning_rate_min": 0.3}  # too high: losses increase
    keys = {"training": rates, "rounds": 10, "fraction_evaluate": 0.6, "evaluate_every": 2}
    keys |= {"early_stopping": {"patience": 2}, "result": "best"}
    run, history = train(build_experiment(**keys), "stopping")
    assert "early stopping: the loss has not improved" in history["stop_reason"]
    losses = {
        r["round"]: r["client_evaluation"]["loss"]
        for r in history["rounds"]
        if r["client_evaluation"]
    }
    assert len(history["rounds"]) < 11
    assert history["best_round"] == history["result_round"] == min(losses, key=losses.get)
    assert history["best_round"] < max(losses)
    assert [bool(r["evaluation"]) for r in history["rounds"]][:4] == [True, False, True, False]
    clients = history["rounds"][1]["client_evaluation"]["clients"]
    assert [c["rows"] for c in clients] == [4, 4]
    shorter, _ = train(build_experiment(**keys | {"rounds": history["best_round"]}), "shorter")
    assert hash_adapter(shorter) == hash_adapter(run)


def test_early_stopping_after_the_last_round_is_no_stop_reason(train):
    """A history that is rebuilt from the last checkpoint is the same."""
    rates = {"learning_rate_max": 0.3, "learning_rate_min": 0.3}
    keys = {"training": rates, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    _, history = train(build_experiment(rounds=2, **keys))
    _, rebuilt = train(build_experiment(rounds=2, **keys))
    assert drop_seconds(rebuilt) == drop_seconds(history)
    assert history["stop_reason"] is None
    _, stopped = train(build_experiment(rounds=3, **keys))  # a round remains
    assert "early stopping" in stopped["stop_reason"]


def copy_with_invalid_tokens(files, name, target):
    """Return a copy of the files in which the tokens of one file are not in the vocabulary."""
    import pyarrow as pa

    preprocessed = shutil.copytree(files["preprocessed"], target / "preprocessed")
    path = str(preprocessed / name)
    with pa.OSFile(path) as file:
        table = pa.ipc.open_stream(file).read_all()
    rows = [row | {"input_ids": [10**6] * len(row["input_ids"])} for row in table.to_pylist()]
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    return files | {"preprocessed": preprocessed}


def test_client_that_fails_to_train_is_left_out(train, federation_files, tmp_path):
    files = copy_with_invalid_tokens(federation_files, "client_1.arrow", tmp_path)
    _, history = train(build_experiment(min_clients=2), files=files)
    for record in history["rounds"][1:]:
        assert [c["client"] for c in record["clients"]] == [0, 2]
        assert [f["client"] for f in record["failed"]] == [1]
    with pytest.raises(UserError, match="2 of the 3 clients that federation"):
        train(build_experiment(strategy="krum"), "krum", files=files)


def test_run_fails_when_every_client_fails(train):
    failures = ".*".join(rf"{i} \(lab {i}\): training\.arguments" for i in range(3))
    message = f"(?s)round 1 stops: 0 of the 1 clients.*{failures}"
    with pytest.raises(UserError, match=message):
        train(build_experiment(arguments={"optim": "no_such_optimizer"}))


def test_client_that_fails_to_evaluate_is_recorded(train, federation_files, tmp_path):
    files = copy_with_invalid_tokens(federation_files, "client_1.validation.arrow", tmp_path)
    _, history = train(build_experiment(fraction_evaluate=1.0), files=files)
    for record in history["rounds"][1:]:
        evaluation = record["client_evaluation"]
        assert [c["client"] for c in evaluation["clients"]] == [0, 2]
        [failed] = evaluation["failed"]
        assert failed["client"] == 1 and failed["bytes_down"] > 0 and failed["reason"]
        records = [*record["clients"], *evaluation["clients"], failed]
        assert record["bytes_down"] == sum(r["bytes_down"] for r in records)


def test_last_round_is_the_result_if_none_was_evaluated(train):
    """The budget ends the run before the first evaluation."""
    _, unlimited = train(build_experiment(rounds=1), "unlimited")
    [_, first] = unlimited["rounds"]
    budget = 1.5e-6 * (first["bytes_down"] + first["bytes_up"])
    keys = {"result": "best", "evaluate_every": 5, "communication": {"budget_mb": budget}}
    _, history = train(build_experiment(rounds=5, **keys))
    assert (history["best_round"], history["result_round"]) == (None, 1)
    assert "budget" in history["stop_reason"]


def test_scaffold_gives_every_client_the_same_weight(train, monkeypatch):
    weights, original = [], rounds.aggregate_round

    def record(spec, strategy, number, state, start, replies):
        weights.append([reply.weight for reply in replies.values()])
        return original(spec, strategy, number, state, start, replies)

    monkeypatch.setattr(rounds, "aggregate_round", record)  # records; the real one aggregates
    for strategy, equal in (("scaffold", True), ("fedavg", False)):
        train(build_experiment(strategy=strategy, client_weights="held", rounds=1), strategy)
        assert (len(set(weights.pop())) == 1) == equal


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("clipping", ["fixed", "adaptive"])
def test_privacy_budget_is_in_the_history(train, side, clipping):
    privacy = {"side": side, "clipping": clipping, "noise_multiplier": 2.0}
    _, history = train(build_experiment(aggregation="ffa", privacy=privacy))
    epsilons = [r["privacy"]["epsilon"] for r in history["rounds"][1:]]
    assert 0 < epsilons[0] < epsilons[1] == history["privacy"]["epsilon"] < math.inf
    assert history["privacy"]["side"] == side
    norms = [r["privacy"]["clipping_norm"] for r in history["rounds"][1:]]
    assert (norms[0] != norms[1]) == (clipping == "adaptive")


def test_secret_changes_the_noise_and_is_not_written(train, tmp_path):
    runs = {}
    for name, content in (("one", b"1" * 32), ("two", b"2" * 32)):
        file = tmp_path / name
        file.write_bytes(content)
        file.chmod(0o600)
        privacy = {"secret": str(file)}
        runs[name], _ = train(build_experiment(aggregation="ffa", privacy=privacy), f"run {name}")
    assert hash_adapter(runs["one"]) != hash_adapter(runs["two"])
    for file in (tmp_path / "run one").rglob("*"):
        assert not file.is_file() or b"1" * 16 not in file.read_bytes()


def test_checkpoints_of_another_strategy_are_not_resumed(train, caplog):
    caplog.set_level("INFO", "blossomtune")
    train(build_experiment(), "same")
    train(build_experiment(strategy="fedadam"), "same")
    message = "starting with round 1: earlier rounds had federation.strategy.name: 'fedavg'"
    assert message in caplog.text


def test_fewer_rounds_than_have_checkpoints_start_over(train, caplog):
    caplog.set_level("INFO", "blossomtune")
    train(build_experiment(rounds=4), "same")
    fewer, history = train(build_experiment(rounds=1), "same")
    assert "starting with round 1: of the first 1 rounds none is kept" in caplog.text
    fresh, expected = train(build_experiment(rounds=1), "fresh")
    assert hash_adapter(fewer) == hash_adapter(fresh)
    assert drop_seconds(history) == drop_seconds(expected)


def test_server_aggregates_on_one_thread(train, monkeypatch):
    """The order in which threads add up depends on their number."""
    threads, average, before = [], aggregate_round.AGGREGATIONS["fedavg"], torch.get_num_threads()

    def record(*args):
        threads.append(torch.get_num_threads())
        return average(*args)

    monkeypatch.setitem(aggregate_round.AGGREGATIONS, "fedavg", record)
    try:
        torch.set_num_threads(3)
        train(build_experiment(evaluate_rows=0, threads_per_client=3))  # else clients set one, too
        assert (threads, torch.get_num_threads()) == ([1, 1], 3)
    finally:
        torch.set_num_threads(before)


def test_client_with_too_few_steps_for_adopt_is_rejected(train):
    """The clients hold 12, 16 and 20 rows, so the first takes one step of 12 rows per epoch."""
    twelve = {"optim": "adopt", "per_device_train_batch_size": 12, "max_steps": -1}
    one, two = ({"arguments": twelve | {"num_train_epochs": n}} for n in (1, 2))
    with pytest.raises(UserError, match=r"client 0 \(.+\) takes one step in a round, with 12 rows"):
        train(build_experiment(**one), "refused")
    for keys in (two, one | {"training": {"optimizer_state": "kept"}}):
        _, history = train(build_experiment(rounds=1, **keys), f"run {len(keys)}")
        assert history["rounds"][-1]["clients"][0]["steps"] == (1 if "training" in keys else 2)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantized_base_trains_with_mixed_ranks(train, quantization):
    training = {"quantization": quantization}
    e = build_experiment(aggregation="flexlora", lora={"ranks": [2, 3, 4]}, training=training)
    _, history = train(e)
    first, *_, last = history["rounds"]
    assert last["evaluation"]["loss"] < first["evaluation"]["loss"] - 0.01
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 3, 3]


@pytest.mark.parametrize("aggregation", ["ffa", "fedex"])
def test_bfloat16_base_trains(train, aggregation):
    e = build_experiment(aggregation=aggregation, training={"base_dtype": "bfloat16"})
    run, history = train(e)
    first, *_, last = history["rounds"]
    assert last["evaluation"]["loss"] < first["evaluation"]["loss"] - 0.01
    assert history["base_dtype"] == "bfloat16"
    adapter = load_adapter(run)
    assert {value.dtype for value in adapter.values()} == {torch.float32}
