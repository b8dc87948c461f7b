import itertools
import os
import shutil
import signal
import sys

import pytest
import torch

from blossomtune.errors import UserError
from blossomtune.files import read_json, write_json
from blossomtune.json_diff import diff_json
from blossomtune.training.checkpoints import Checkpoint, CheckpointStore

IDENTITY = {"seed": 1, "training": {"learning_rate_max": 1e-3}, "clients": ["a", "b"]}


def checkpoint(number):
    state = {"b": torch.full((2, 3), float(number)), "a": torch.zeros(1)}
    return Checkpoint(number, state, [{"round": n} for n in range(number + 1)])


def rounds(kept, kind="round"):
    return sorted(int(path.name[-5:]) for path in kept.folder.glob(f"{kind}-*"))


def test_the_last_round_comes_back_as_it_was(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    assert kept.load_latest(max_round=9) is None
    kept.save(checkpoint(1))
    kept.save(checkpoint(2))
    found = CheckpointStore(tmp_path, IDENTITY).load_latest(max_round=9)
    assert (found.round_number, found.history) == (2, checkpoint(2).history)
    assert found.adapter_state.keys() == {"a", "b"}
    assert torch.equal(found.adapter_state["b"], checkpoint(2).adapter_state["b"])


def test_only_the_last_two_stay(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    for number in range(1, 12):
        kept.save(checkpoint(number))
    assert rounds(kept) == [10, 11]


def test_as_many_rounds_stay_as_are_asked_for(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY, save_total_limit=4)
    for number in range(1, 7):
        kept.save(checkpoint(number))
    assert rounds(kept) == [3, 4, 5, 6]


def test_what_the_server_carries_on_comes_back(tmp_path):
    momentum = torch.arange(6.0).reshape(2, 3)
    server = {"momentum": momentum, "momentum.view": momentum.T, "clipping": torch.tensor(0.5)}
    given = Checkpoint(1, checkpoint(1).adapter_state, [], server)
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(given)
    found = kept.load_latest(max_round=9)
    assert found.adapter_state.keys() == given.adapter_state.keys()
    assert found.server_state.keys() == server.keys()
    assert all(torch.equal(found.server_state[name], server[name]) for name in server)


def test_the_best_round_outlives_the_last_ones(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    assert kept.load_best() is None
    for number in range(1, 8):
        kept.save(checkpoint(number), is_best=number in (1, 3))
    assert rounds(kept) == [6, 7]
    assert rounds(kept, "best") == [3]
    best = CheckpointStore(tmp_path, IDENTITY).load_best()
    assert (best.round_number, best.history) == (3, checkpoint(3).history)
    assert torch.equal(best.adapter_state["b"], checkpoint(3).adapter_state["b"])


def test_going_back_a_round_finds_the_best_until_then(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    for number in range(1, 8):
        kept.save(checkpoint(number), is_best=number in (3, 7))
    assert kept.load_best(max_round=6).round_number == 3
    assert kept.load_best(max_round=7).round_number == kept.load_best().round_number == 7
    kept.save(checkpoint(8))
    assert rounds(kept, "best") == [7]


def test_the_best_round_is_none_to_go_on_from(tmp_path):
    """What clients keep does not reach back that far."""
    kept = CheckpointStore(tmp_path, IDENTITY)
    for number in range(1, 8):
        kept.save(checkpoint(number), is_best=number == 3)
    assert kept.load_latest(max_round=4) is None


def test_a_round_that_comes_again_may_be_no_longer_the_best(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(checkpoint(1), is_best=True)
    kept.save(checkpoint(2), is_best=True)
    kept.save(checkpoint(2))
    assert kept.load_best().round_number == 1


def test_starting_over_forgets_later_rounds(tmp_path):
    """Or its own would be the first to go, being older, and a stop would lose them."""
    kept = CheckpointStore(tmp_path, IDENTITY)
    for number in range(1, 7):
        kept.save(checkpoint(number), is_best=number == 5)
    assert kept.load_latest(max_round=3) is None
    kept.save(checkpoint(1), is_best=True)
    assert (
        kept.load_latest(max_round=3).round_number
        == kept.load_latest(max_round=6).round_number
        == 1
    )
    assert kept.load_best().round_number == 1


def killed_at(step, save):
    """Runs ``save`` in a process that kills itself at a step to the file system; whether it did."""
    child = os.fork()
    if not child:
        steps = itertools.count()

        def hook(event, _):
            if event.startswith(("open", "os.", "shutil.")) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        save()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_save_that_is_killed_anywhere_leaves_no_half_checkpoint(tmp_path):
    before = CheckpointStore(tmp_path / "before", IDENTITY)
    for number in range(1, 5):
        before.save(checkpoint(number), is_best=number == 2)
    for step in itertools.count():
        shutil.copytree(tmp_path / "before", tmp_path / str(step))
        kept = CheckpointStore(tmp_path / str(step), IDENTITY)
        killed = killed_at(step, lambda kept=kept: kept.save(checkpoint(5), is_best=True))
        last = kept.load_latest(max_round=9)
        assert last.round_number in ((4, 5) if killed else (5,))
        assert torch.equal(
            last.adapter_state["b"], checkpoint(last.round_number).adapter_state["b"]
        )
        assert (
            kept.load_best(max_round=last.round_number).round_number
            == {4: 2, 5: 5}[last.round_number]
        )
        kept.save(checkpoint(5), is_best=True)
        assert (rounds(kept), rounds(kept, "best")) == ([4, 5], [2, 5])
        if not killed:
            break
    assert step > 30


def test_fewer_rounds_than_there_are_take_an_earlier_one(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(checkpoint(3))
    kept.save(checkpoint(4))
    assert kept.load_latest(max_round=3).round_number == 3
    assert kept.load_latest(max_round=2) is None


@pytest.mark.parametrize("damage", ["adapter.safetensors", "server.safetensors", "record.json"])
def test_what_is_damaged_is_passed_over(tmp_path, damage, capsys):
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    kept.save(checkpoint(2))
    file = kept.folder / "round-00002" / damage
    file.write_bytes(file.read_bytes()[:-5])
    assert kept.load_latest(max_round=9).round_number == 1
    assert "round-00002 is damaged, and is passed over" in capsys.readouterr().out
    (kept.folder / "round-00001" / damage).unlink()
    assert kept.load_latest(max_round=9) is None


def test_another_identity_has_a_folder_of_its_own(tmp_path):
    first = CheckpointStore(tmp_path, IDENTITY)
    first.save(checkpoint(1))
    other = CheckpointStore(tmp_path, IDENTITY | {"training": {"learning_rate_max": 2e-3}})
    assert other.load_latest(max_round=9) is None
    assert other.find_identity_changes() == ["training.learning_rate_max: 0.001, now 0.002"]
    assert first.find_identity_changes() == []
    assert first.load_latest(max_round=9).round_number == 1


def test_checkpoints_that_do_not_belong_are_refused(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    said = kept.folder / "identity.json"
    write_json(said, read_json(said) | {"seed": 2})
    with pytest.raises(UserError, match=r"belong to another federation: seed: 2, now 1\n  hint"):
        CheckpointStore(tmp_path, IDENTITY)


def test_an_unfinished_checkpoint_is_none(tmp_path):
    kept = CheckpointStore(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    (kept.folder / ".round-00002.partial").mkdir()
    assert kept.load_latest(max_round=9).round_number == 1


def test_differences_name_the_key():
    assert diff_json({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) == []
    assert diff_json({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}, "d": 4}) == [
        "a.b: [1, 2], now [1, 3]",
        "d: None, now 4",
    ]


def test_rounds_count_only_where_the_learning_rate_anneals(tmp_path):
    """And what decides whether a round counts is no part of what it makes."""
    from blossomtune.config.federation import FederationSettings
    from blossomtune.config.lora import LoraSettings
    from blossomtune.config.training import TrainingSettings
    from blossomtune.federation.paths import ClientPaths
    from blossomtune.federation.run_identity import build_run_identity
    from blossomtune.federation.spec import ClientSpec, FederationSpec

    write_json(tmp_path / "manifest.json", {"clients": [{"sha256": "a"}], "test": {"sha256": "b"}})
    write_json(tmp_path / "provenance.json", {"files": {"model.safetensors": "c"}})

    def of(low, **federation):
        paths = ClientPaths(model=tmp_path, preprocessed=tmp_path, checkpoints=tmp_path)
        spec = FederationSpec(
            seed=1,
            lora=LoraSettings(),
            training=TrainingSettings(learning_rate_max=1e-3, learning_rate_min=low),
            federation=FederationSettings(**federation),
            clients=(ClientSpec(name="x", num_rows=3, rank=8),),
            base_model_name="tiny",
        )
        return build_run_identity(spec, paths, "cpu")

    assert diff_json(of(1e-4, rounds=2), of(1e-4, rounds=3)) == ["federation.rounds: 2, now 3"]
    assert diff_json(of(1e-3, rounds=2), of(1e-3, rounds=3)) == []
    assert diff_json(of(1e-3), of(1e-3, min_clients=1, round_timeout=5)) == []
    assert diff_json(of(1e-3), of(1e-3, fraction_train=0.5)) != []
