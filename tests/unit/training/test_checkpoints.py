import itertools
import os
import shutil
import signal
import sys
from functools import partial

import pytest
import torch
from artifact_samples import round_record

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.errors import UserError
from blossomtune.files import read_json, write_json
from blossomtune.training.checkpoints import Checkpoint, CheckpointStore

IDENTITY = {"seed": 1, "training": {"learning_rate_max": 1e-3}, "clients": ["a", "b"]}


def open_store(root, identity=IDENTITY, **kwargs):
    return CheckpointStore(root, identity, RoundRecord, **kwargs)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def build_checkpoint(number):
    state = {"b": torch.full((2, 3), float(number)), "a": torch.zeros(1)}
    return Checkpoint(number, state, [round_record(n) for n in range(number + 1)])


def save_rounds(store, last, best=(), first=1):
    for number in range(first, last + 1):
        store.save(build_checkpoint(number), is_best=number in best)


def list_rounds(store, kind="round"):
    return sorted(int(path.name[-5:]) for path in store.folder.glob(f"{kind}-*"))


def test_latest_round_is_loaded_as_it_was_saved(tmp_path, store):
    assert store.load_latest(max_round=9) is None
    save_rounds(store, 2)
    checkpoint, expected = open_store(tmp_path).load_latest(max_round=9), build_checkpoint(2)
    assert (checkpoint.round_number, checkpoint.history) == (2, expected.history)
    assert checkpoint.adapter_state.keys() == {"a", "b"}
    assert torch.equal(checkpoint.adapter_state["b"], expected.adapter_state["b"])


def test_only_the_latest_two_rounds_remain(store):
    save_rounds(store, 11)
    assert list_rounds(store) == [10, 11]


def test_save_total_limit_sets_the_number_of_rounds(tmp_path):
    store = open_store(tmp_path, save_total_limit=4)
    save_rounds(store, 6)
    assert list_rounds(store) == [3, 4, 5, 6]


def test_server_state_is_loaded_as_it_was_saved(store):
    momentum = torch.arange(6.0).reshape(2, 3)
    state = {"momentum": momentum, "momentum.view": momentum.T, "clipping": torch.tensor(0.5)}
    saved = Checkpoint(1, build_checkpoint(1).adapter_state, [], state)
    store.save(saved)
    loaded = store.load_latest(max_round=9)
    assert loaded.adapter_state.keys() == saved.adapter_state.keys()
    assert loaded.server_state.keys() == state.keys()
    assert all(torch.equal(loaded.server_state[name], state[name]) for name in state)


def test_best_round_remains_after_later_rounds(tmp_path, store):
    assert store.load_best() is None
    save_rounds(store, 7, best=(1, 3))
    assert list_rounds(store) == [6, 7]
    assert list_rounds(store, "best") == [3]
    best, expected = open_store(tmp_path).load_best(), build_checkpoint(3)
    assert (best.round_number, best.history) == (3, expected.history)
    assert torch.equal(best.adapter_state["b"], expected.adapter_state["b"])


def test_best_round_is_limited_to_the_rounds_so_far(store):
    save_rounds(store, 7, best=(3, 7))
    assert store.load_best(max_round=6).round_number == 3
    assert store.load_best(max_round=7).round_number == store.load_best().round_number == 7
    store.save(build_checkpoint(8))
    assert list_rounds(store, "best") == [7]


def test_training_does_not_resume_from_a_best_round(store):
    """Clients do not keep their state for that long."""
    save_rounds(store, 7, best=(3,))
    assert store.load_latest(max_round=4) is None


def test_repeated_round_may_no_longer_be_the_best(store):
    save_rounds(store, 2, best=(1, 2))
    store.save(build_checkpoint(2))
    assert store.load_best().round_number == 1


def test_restart_deletes_later_rounds(store):
    """The new rounds would otherwise be deleted first, since they are older."""
    save_rounds(store, 6, best=(5,))
    assert store.load_latest(max_round=3) is None
    store.save(build_checkpoint(1), is_best=True)
    for max_round in (3, 6):
        assert store.load_latest(max_round).round_number == 1
    assert store.load_best().round_number == 1


def save_and_kill(step, save):
    """Run ``save`` in a process that kills itself at a file operation; return if it did."""
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


def test_killed_save_leaves_whole_checkpoints_only(tmp_path):
    save_rounds(open_store(tmp_path / "before"), 4, best=(2,))
    save_fifth = partial(CheckpointStore.save, checkpoint=build_checkpoint(5), is_best=True)
    for step in itertools.count():
        shutil.copytree(tmp_path / "before", tmp_path / str(step))
        store = open_store(tmp_path / str(step))
        was_killed = save_and_kill(step, partial(save_fifth, store))
        latest = store.load_latest(max_round=9)
        number = latest.round_number
        assert number in ((4, 5) if was_killed else (5,))
        expected = build_checkpoint(number).adapter_state
        assert torch.equal(latest.adapter_state["b"], expected["b"])
        assert store.load_best(max_round=number).round_number == {4: 2, 5: 5}[number]
        save_fifth(store)
        assert (list_rounds(store), list_rounds(store, "best")) == ([4, 5], [2, 5])
        if not was_killed:
            break
    assert step > 30


def test_fewer_rounds_than_saved_load_an_earlier_one(store):
    save_rounds(store, 4, first=3)
    assert store.load_latest(max_round=3).round_number == 3
    assert store.load_latest(max_round=2) is None


@pytest.mark.parametrize("name", ["adapter.safetensors", "server.safetensors", "record.json"])
def test_damaged_checkpoint_is_skipped(store, name, caplog):
    save_rounds(store, 2)
    file = store.folder / "round-00002" / name
    file.write_bytes(file.read_bytes()[:-5])
    assert store.load_latest(max_round=9).round_number == 1
    assert "round-00002 is damaged and is skipped" in caplog.text
    (store.folder / "round-00001" / name).unlink()
    assert store.load_latest(max_round=9) is None


def test_other_identity_has_its_own_folder(tmp_path, store):
    store.save(build_checkpoint(1))
    other = open_store(tmp_path, IDENTITY | {"training": {"learning_rate_max": 2e-3}})
    assert other.load_latest(max_round=9) is None
    assert other.find_identity_changes() == ["training.learning_rate_max: 0.001, now 0.002"]
    assert store.find_identity_changes() == []
    assert store.load_latest(max_round=9).round_number == 1


def test_folder_of_another_identity_is_rejected(tmp_path, store):
    store.save(build_checkpoint(1))
    file = store.folder / "identity.json"
    write_json(file, read_json(file) | {"seed": 2})
    with pytest.raises(UserError, match=r"belong to another federation: seed: 2, now 1\n  hint"):
        open_store(tmp_path)


def test_unfinished_checkpoint_is_ignored(store):
    store.save(build_checkpoint(1))
    (store.folder / ".round-00002.partial").mkdir()
    assert store.load_latest(max_round=9).round_number == 1
