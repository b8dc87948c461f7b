import pytest
import torch

from blossomtune.errors import UserError
from blossomtune.federation.checkpoints import Checkpoint, Checkpoints, differences
from blossomtune.files import read_json, write_json

IDENTITY = {"seed": 1, "training": {"learning_rate_max": 1e-3}, "clients": ["a", "b"]}


def checkpoint(number):
    state = {"b": torch.full((2, 3), float(number)), "a": torch.zeros(1)}
    return Checkpoint(number, state, [{"round": n} for n in range(number + 1)])


def rounds(kept):
    return sorted(path.name for path in kept.folder.glob("round-*"))


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
    assert rounds(kept) == ["round-00010", "round-00011"]


def test_fewer_rounds_than_there_are_take_an_earlier_one(tmp_path):
    kept = Checkpoints(tmp_path, IDENTITY)
    kept.save(checkpoint(3))
    kept.save(checkpoint(4))
    assert kept.latest(upto=3).round == 3
    assert kept.latest(upto=2) is None


@pytest.mark.parametrize("damage", ["adapter.safetensors", "record.json"])
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
    from blossomtune.config.experiments import Federation, Lora, Training
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
            clients=[Client(name="x", rows=3)],
            base_name="tiny",
            **dict.fromkeys(names, tmp_path),
        )
        return identity(job, "cpu")

    assert differences(of(1e-4, rounds=2), of(1e-4, rounds=3)) == ["federation.rounds: 2, now 3"]
    assert differences(of(1e-3, rounds=2), of(1e-3, rounds=3)) == []
    assert differences(of(1e-3), of(1e-3, min_clients=1, round_timeout=5)) == []
    assert differences(of(1e-3), of(1e-3, fraction_train=0.5)) != []
