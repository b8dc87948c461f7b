import itertools
import os
import shutil
import signal
import sys

import pytest
import torch

from blossomtune.errors import UserError
from blossomtune.federation.checkpoints import Checkpoint, Checkpoints, differences
from blossomtune.files import read_json, write_json

IDENTITY = {"seed": 1, "training": {"learning_rate_max": 1e-3}, "clients": ["a", "b"]}


def checkpoint(number):
    state = {"b": torch.full((2, 3), float(number)), "a": torch.zeros(1)}
    return Checkpoint(number, state, [{"round": n} for n in range(number + 1)])


def rounds(kept, kind="round"):
    return sorted(int(path.name[-5:]) for path in kept.folder.glob(f"{kind}-*"))


def test_the_last_round_comes_back_as_it_was(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    assert kept.latest(upto=9) is None
    kept.save(checkpoint(1))
    kept.save(checkpoint(2))
    found = Checkpoints(tmp_path, IDENTITY).latest(upto=9)
    assert (found.round, found.history) == (2, checkpoint(2).history)
    assert found.state.keys() == {"a", "b"}
    assert torch.equal(found.state["b"], checkpoint(2).state["b"])


def test_only_the_last_two_stay(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    for number in range(1, 12):
        kept.save(checkpoint(number))
    assert rounds(kept) == [10, 11]


def test_as_many_rounds_stay_as_are_asked_for(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY, keep=4)
    for number in range(1, 7):
        kept.save(checkpoint(number))
    assert rounds(kept) == [3, 4, 5, 6]


def test_what_the_server_carries_on_comes_back(tmp_path):
    momentum = torch.arange(6.0).reshape(2, 3)
    server = {"momentum": momentum, "momentum.view": momentum.T, "clipping": torch.tensor(0.5)}
    given = Checkpoint(1, checkpoint(1).state, [], server)
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(given)
    found = kept.latest(upto=9)
    assert found.state.keys() == given.state.keys()
    assert found.server.keys() == server.keys()
    assert all(torch.equal(found.server[name], server[name]) for name in server)


def test_the_best_round_outlives_the_last_ones(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    assert kept.best() is None
    for number in range(1, 8):
        kept.save(checkpoint(number), best=number in (1, 3))
    assert rounds(kept) == [6, 7]
    assert rounds(kept, "best") == [3]
    best = Checkpoints(tmp_path, IDENTITY).best()
    assert (best.round, best.history) == (3, checkpoint(3).history)
    assert torch.equal(best.state["b"], checkpoint(3).state["b"])


def test_going_back_a_round_finds_the_best_until_then(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    for number in range(1, 8):
        kept.save(checkpoint(number), best=number in (3, 7))
    assert kept.best(upto=6).round == 3
    assert kept.best(upto=7).round == kept.best().round == 7
    kept.save(checkpoint(8))
    assert rounds(kept, "best") == [7]


def test_the_best_round_is_none_to_go_on_from(tmp_path):
    """What clients keep does not reach back that far."""
    kept = Checkpoints(tmp_path, IDENTITY)
    for number in range(1, 8):
        kept.save(checkpoint(number), best=number == 3)
    assert kept.latest(upto=4) is None


def test_a_round_that_comes_again_may_be_no_longer_the_best(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(1), best=True)
    kept.save(checkpoint(2), best=True)
    kept.save(checkpoint(2))
    assert kept.best().round == 1


def test_starting_over_forgets_later_rounds(tmp_path):
    """Or its own would be the first to go, being older, and a stop would lose them."""
    kept = Checkpoints(tmp_path, IDENTITY)
    for number in range(1, 7):
        kept.save(checkpoint(number), best=number == 5)
    assert kept.latest(upto=3) is None
    kept.save(checkpoint(1), best=True)
    assert kept.latest(upto=3).round == kept.latest(upto=6).round == 1
    assert kept.best().round == 1


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
    before = Checkpoints(tmp_path / "before", IDENTITY)
    for number in range(1, 5):
        before.save(checkpoint(number), best=number == 2)
    for step in itertools.count():
        shutil.copytree(tmp_path / "before", tmp_path / str(step))
        kept = Checkpoints(tmp_path / str(step), IDENTITY)
        killed = killed_at(step, lambda kept=kept: kept.save(checkpoint(5), best=True))
        last = kept.latest(upto=9)
        assert last.round in ((4, 5) if killed else (5,))
        assert torch.equal(last.state["b"], checkpoint(last.round).state["b"])
        assert kept.best(upto=last.round).round == {4: 2, 5: 5}[last.round]
        kept.save(checkpoint(5), best=True)
        assert (rounds(kept), rounds(kept, "best")) == ([4, 5], [2, 5])
        if not killed:
            break
    assert step > 30


def test_fewer_rounds_than_there_are_take_an_earlier_one(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(3))
    kept.save(checkpoint(4))
    assert kept.latest(upto=3).round == 3
    assert kept.latest(upto=2) is None


@pytest.mark.parametrize("damage", ["adapter.safetensors", "server.safetensors", "record.json"])
def test_what_is_damaged_is_passed_over(tmp_path, damage, capsys):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    kept.save(checkpoint(2))
    file = kept.folder / "round-00002" / damage
    file.write_bytes(file.read_bytes()[:-5])
    assert kept.latest(upto=9).round == 1
    assert "round-00002 is damaged, and is passed over" in capsys.readouterr().out
    (kept.folder / "round-00001" / damage).unlink()
    assert kept.latest(upto=9) is None


def test_another_identity_has_a_folder_of_its_own(tmp_path):
    first = Checkpoints(tmp_path, IDENTITY)
    first.save(checkpoint(1))
    other = Checkpoints(tmp_path, IDENTITY | {"training": {"learning_rate_max": 2e-3}})
    assert other.latest(upto=9) is None
    assert other.others() == ["training.learning_rate_max: 0.001, now 0.002"]
    assert first.others() == []
    assert first.latest(upto=9).round == 1


def test_checkpoints_that_do_not_belong_are_refused(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    said = kept.folder / "identity.json"
    write_json(said, read_json(said) | {"seed": 2})
    with pytest.raises(UserError, match=r"belong to another federation: seed: 2, now 1\n  hint"):
        Checkpoints(tmp_path, IDENTITY)


def test_an_unfinished_checkpoint_is_none(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(1))
    (kept.folder / ".round-00002.partial").mkdir()
    assert kept.latest(upto=9).round == 1


def test_differences_name_the_key():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) == []
    assert differences({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}, "d": 4}) == [
        "a.b: [1, 2], now [1, 3]",
        "d: None, now 4",
    ]


def test_rounds_count_only_where_the_learning_rate_anneals(tmp_path):
    """And what decides whether a round counts is no part of what it makes."""
    from blossomtune.config.adapters import Lora
    from blossomtune.config.federation import Federation
    from blossomtune.config.training import Training
    from blossomtune.federation.job import Client, Job, identity

    write_json(tmp_path / "manifest.json", {"clients": [{"sha256": "a"}], "test": {"sha256": "b"}})
    write_json(tmp_path / "provenance.json", {"files": {"model.safetensors": "c"}})

    def of(low, **federation):
        names = ("model", "preprocessed", "adapter", "history", "checkpoints")
        job = Job(
            seed=1,
            lora=Lora(),
            training=Training(learning_rate_max=1e-3, learning_rate_min=low),
            federation=Federation(**federation),
            clients=[Client(name="x", rows=3, rank=8)],
            base_name="tiny",
            **dict.fromkeys(names, tmp_path),
        )
        return identity(job, "cpu")

    assert differences(of(1e-4, rounds=2), of(1e-4, rounds=3)) == ["federation.rounds: 2, now 3"]
    assert differences(of(1e-3, rounds=2), of(1e-3, rounds=3)) == []
    assert differences(of(1e-3), of(1e-3, min_clients=1, round_timeout=5)) == []
    assert differences(of(1e-3), of(1e-3, fraction_train=0.5)) != []
