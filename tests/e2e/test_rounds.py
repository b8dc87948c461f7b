"""Rounds of a federation in this process: what they depend on, and what they keep."""

import math
import shutil

import pytest
import torch
from flwr.app import MessageType
from in_process import InProcess, experiment, told, trained, weights

from blossomtune.errors import UserError
from blossomtune.federation.client import worker
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD
from blossomtune.federation.server import aggregate_round

CARRYING = {
    "momentum": {"strategy": "fedavgm"},
    "adam": {"strategy": "fedadam"},
    "adam by factor": {"strategy": "fedadam", "aggregation": "rolora"},
    "baselines": {"strategy": "scaffold"},
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
"""Federations that carry something from round to round, on the server or on the clients."""


def again(home, to):
    """The checkpoints of a run, for another to go on from."""
    shutil.copytree(home / "checkpoints", to / "checkpoints")


@pytest.mark.parametrize("keys", CARRYING.values(), ids=CARRYING)
def test_stopped_after_any_round_is_as_not_stopped(train, tmp_path, keys):
    """Two of the three clients a round; order of arrival, restarts and other rounds between."""
    chosen = {"fraction_train": 0.6, "evaluate_rows": 4} | keys
    whole, history = train(experiment(rounds=3, **chosen), "whole", order=[102, 101, 100])
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 2, 2, 2]
    for rounds in (1, 2, 3):
        worker.get_worker.cache_clear()  # another process
        run, resumed = train(experiment(rounds=rounds, **chosen), "parts")
        shutil.rmtree(run.paths.adapter)
    run, resumed = train(experiment(rounds=3, **chosen), "parts")
    assert weights(run) == weights(whole)
    assert told(resumed) == told(history)


def test_arrival_order_changes_no_bit(train):
    one, first = train(experiment(), "one", order=[100, 101, 102])
    two, second = train(experiment(), "two", order=[102, 100, 101])
    assert weights(one) == weights(two)
    assert told(first) == told(second)


def test_clients_count_by_the_rows_that_they_trained_on_or_hold(train, monkeypatch):
    """All train on as many rows, and hold 12, 16 and 20."""
    answer, sent = InProcess._reply, {}

    def recorded(grid, message):
        reply = answer(grid, message)
        if message.metadata.message_type == MessageType.TRAIN:
            sent[message.metadata.dst_node_id - 100] = codec.decode(reply.content[ADAPTER_RECORD])
        return reply

    monkeypatch.setattr(InProcess, "_reply", recorded)  # listens; what answers is the real one
    for how, shares in {"trained": (1 / 3, 1 / 3, 1 / 3), "held": (1 / 4, 1 / 3, 5 / 12)}.items():
        run, _ = train(experiment(rounds=1, client_weights=how), how)
        for name, value in trained(run).items():
            average = sum(share * sent[i][name] for i, share in enumerate(shares))
            assert torch.allclose(value, average, atol=1e-7)


def test_ffa_leaves_a_as_it_began_and_rolora_takes_turns(train):
    from blossomtune.modeling.load import load_model
    from blossomtune.training import adapter

    def changed(aggregation, rounds):
        run, _ = train(experiment(aggregation=aggregation, rounds=rounds), f"{aggregation}{rounds}")
        initial = adapter.get_adapter_state(
            adapter.build_peft_model(load_model(run.paths.model), run.spec.lora, run.spec.seed)
        )
        found = trained(run)
        return {n.split(".")[-2] for n in initial if not torch.equal(found[n], initial[n])}

    assert changed("ffa", 2) == {"lora_B"}
    assert changed("rolora", 1) == {"lora_B"}
    assert changed("rolora", 2) == {"lora_A", "lora_B"}


@pytest.mark.parametrize("aggregation", ["flora", "fedex"])
def test_what_is_folded_into_the_base_is_in_the_adapter(train, aggregation):
    """The server scored base, folded updates and adapter; the file says the same alone."""
    from peft import PeftModel

    from blossomtune.modeling.eval_loss import ServerEvalSet
    from blossomtune.modeling.load import load_model
    from blossomtune.modeling.tokenizer import get_pad_token_id, load_tokenizer

    run, history = train(experiment(aggregation=aggregation, rounds=3))
    model = PeftModel.from_pretrained(load_model(run.paths.model), run.paths.adapter)
    held_out = ServerEvalSet(run.paths.preprocessed, 10, run.spec.seed)
    found = held_out.evaluate(model, get_pad_token_id(load_tokenizer(run.paths.model)))
    assert found.loss == pytest.approx(history["rounds"][-1]["evaluation"]["loss"], abs=1e-4)


def test_drift_is_nothing_for_one_factor_and_something_for_two(train):
    apart = {}
    for aggregation in ("fedavg", "ffa"):
        _, history = train(experiment(aggregation=aggregation), aggregation)
        layers = history["rounds"][-1]["drift"]
        assert "layers.0.self_attn.q_proj" in layers
        apart[aggregation] = max(numbers["average"] for numbers in layers.values())
        assert all(0 <= n["best"] <= 1 for n in layers.values())
    assert apart["ffa"] == 0
    assert apart["fedavg"] > 0.01


def test_early_stopping_keeps_the_best_round(train):
    rates = {"learning_rate_max": 0.3, "learning_rate_min": 0.3}  # gets worse
    keys = {"training": rates, "rounds": 10, "fraction_evaluate": 0.6, "evaluate_every": 2}
    keys |= {"early_stopping": {"patience": 2}, "result": "best"}
    run, history = train(experiment(**keys), "stopping")
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
    until, _ = train(experiment(**keys | {"rounds": history["best_round"]}), "until")
    assert weights(until) == weights(run)


def test_early_stopping_after_the_last_round_is_not_told(train):
    """Written again from the last checkpoint, the history is the same."""
    rates = {"learning_rate_max": 0.3, "learning_rate_min": 0.3}
    keys = {"training": rates, "early_stopping": {"patience": 1, "min_delta": 100.0}}
    _, history = train(experiment(rounds=2, **keys))
    _, again = train(experiment(rounds=2, **keys))
    assert told(again) == told(history)
    assert history["stop_reason"] is None
    _, stopped = train(experiment(rounds=3, **keys))  # here something is left
    assert "early stopping" in stopped["stop_reason"]


def test_a_client_that_sends_nonsense_is_left_out(train, federation_files, tmp_path):
    """Its first row has a token that the vocabulary does not have."""
    import pyarrow as pa

    spoiled = tmp_path / "preprocessed"
    shutil.copytree(federation_files["preprocessed"], spoiled)
    with pa.OSFile(str(spoiled / "client_1.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all()
    rows = table.to_pylist()
    rows = [row | {"input_ids": [10**6] * len(row["input_ids"])} for row in rows]
    with pa.ipc.new_stream(str(spoiled / "client_1.arrow"), table.schema) as stream:
        stream.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    files = federation_files | {"preprocessed": spoiled}
    _, history = train(experiment(min_clients=2), files=files)
    for record in history["rounds"][1:]:
        assert [c["client"] for c in record["clients"]] == [0, 2]
        assert [f["client"] for f in record["failed"]] == [1]
    with pytest.raises(UserError, match="2 of the 3 clients that federation"):
        train(experiment(strategy="krum"), "krum", files=files)


def test_who_gives_no_score_is_told_and_counted(train, federation_files, tmp_path):
    """A row that a client holds out has a token that the vocabulary does not have."""
    import pyarrow as pa

    spoiled = tmp_path / "preprocessed"
    shutil.copytree(federation_files["preprocessed"], spoiled)
    with pa.OSFile(str(spoiled / "client_1.validation.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all()
    rows = [row | {"input_ids": [10**6] * len(row["input_ids"])} for row in table.to_pylist()]
    with pa.ipc.new_stream(str(spoiled / "client_1.validation.arrow"), table.schema) as stream:
        stream.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    files = federation_files | {"preprocessed": spoiled}
    _, history = train(experiment(fraction_evaluate=1.0), files=files)
    for record in history["rounds"][1:]:
        scored = record["client_evaluation"]
        assert [c["client"] for c in scored["clients"]] == [0, 2]
        [failed] = scored["failed"]
        assert failed["client"] == 1 and failed["bytes_down"] > 0 and failed["reason"]
        every = [*record["clients"], *scored["clients"], failed]
        assert record["bytes_down"] == sum(c["bytes_down"] for c in every)


def test_the_last_round_is_the_result_where_none_was_looked_at(train):
    """The budget ends the run before the first evaluation."""
    _, free = train(experiment(rounds=1), "free")
    [_, first] = free["rounds"]
    budget = 1.5e-6 * (first["bytes_down"] + first["bytes_up"])
    keys = {"result": "best", "evaluate_every": 5, "communication": {"budget_mb": budget}}
    _, history = train(experiment(rounds=5, **keys))
    assert (history["best_round"], history["result_round"]) == (None, 1)
    assert "budget" in history["stop_reason"]


def test_scaffold_counts_every_client_alike(train, monkeypatch):
    weights = []

    def recorded(spec, strategy, number, state, start, answers):
        weights.append([a.weight for a in answers.values()])
        return aggregate_round(spec, strategy, number, state, start, answers)

    from blossomtune.federation.server.aggregate_round import aggregate_round

    monkeypatch.setattr(
        "blossomtune.federation.server.rounds.aggregate_round", recorded
    )  # listens only
    for strategy, alike in (("scaffold", True), ("fedavg", False)):
        train(experiment(strategy=strategy, client_weights="held", rounds=1), strategy)
        assert (len(set(weights.pop())) == 1) == alike


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("clipping", ["fixed", "adaptive"])
def test_privacy_is_accounted_for(train, side, clipping):
    privacy = {"side": side, "clipping": clipping, "noise_multiplier": 2.0}
    _, history = train(experiment(aggregation="ffa", privacy=privacy))
    spent = [r["privacy"]["epsilon"] for r in history["rounds"][1:]]
    assert 0 < spent[0] < spent[1] == history["privacy"]["epsilon"] < math.inf
    assert history["privacy"]["side"] == side
    norms = [r["privacy"]["clipping_norm"] for r in history["rounds"][1:]]
    assert (norms[0] != norms[1]) == (clipping == "adaptive")


def test_a_secret_changes_the_noise_and_is_nowhere(train, tmp_path):
    made = {}
    for name, content in (("one", b"1" * 32), ("two", b"2" * 32)):
        file = tmp_path / name
        file.write_bytes(content)
        file.chmod(0o600)
        privacy = {"secret": str(file)}
        made[name], _ = train(experiment(aggregation="ffa", privacy=privacy), f"run {name}")
    assert weights(made["one"]) != weights(made["two"])
    for file in (tmp_path / "run one").rglob("*"):
        assert not file.is_file() or b"1" * 16 not in file.read_bytes()


def test_checkpoints_of_another_strategy_are_not_taken(train, capsys):
    train(experiment(), "same")
    train(experiment(strategy="fedadam"), "same")
    said = capsys.readouterr().out
    assert "starting with round 1: earlier rounds had federation.strategy.name: 'fedavg'" in said


def test_fewer_rounds_than_are_kept_start_over_and_say_so(train, capsys):
    train(experiment(rounds=4), "same")
    fewer, history = train(experiment(rounds=1), "same")
    said = capsys.readouterr().out
    assert "starting with round 1: of the first 1 rounds none is kept" in said
    fresh, expected = train(experiment(rounds=1), "fresh")
    assert weights(fewer) == weights(fresh)
    assert told(history) == told(expected)


def test_the_server_adds_up_on_one_thread(train, monkeypatch):
    """Cores are no part of what a result depends on, and threads add up in an order of theirs."""
    seen, average, before = [], aggregate_round.AGGREGATIONS["fedavg"], torch.get_num_threads()

    def recorded(*given):
        seen.append(torch.get_num_threads())
        return average(*given)

    monkeypatch.setitem(aggregate_round.AGGREGATIONS, "fedavg", recorded)  # listens only
    try:
        torch.set_num_threads(3)
        train(experiment(evaluate_rows=0, threads_per_client=3))  # else those set one, too
        assert (seen, torch.get_num_threads()) == ([1, 1], 3)
    finally:
        torch.set_num_threads(before)


def test_a_client_that_adopt_would_teach_nothing_is_told_before(train):
    """The clients hold 12, 16 and 20 rows: of 12 at a time, the first takes one step an epoch."""
    twelve = {"optim": "adopt", "per_device_train_batch_size": 12, "max_steps": -1}
    one, two = ({"arguments": twelve | {"num_train_epochs": n}} for n in (1, 2))
    with pytest.raises(UserError, match=r"client 0 \(.+\) takes one step in a round, with 12 rows"):
        train(experiment(**one), "refused")
    for keys in (two, one | {"training": {"optimizer_state": "kept"}}):
        _, history = train(experiment(rounds=1, **keys), f"run {len(keys)}")
        assert history["rounds"][-1]["clients"][0]["steps"] == (1 if "training" in keys else 2)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_a_quantised_base_is_trained_on_with_ranks_that_differ(train, quantization):
    training = {"quantization": quantization}
    e = experiment(aggregation="flexlora", lora={"ranks": [2, 3, 4]}, training=training)
    _, history = train(e)
    first, *_, last = history["rounds"]
    assert last["evaluation"]["loss"] < first["evaluation"]["loss"] - 0.01
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 3, 3]
