import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.errors import UserError
from blossomtune.federation.client.state_store import ClientStateStore


def state(number):
    return {"b": torch.full((2, 3), float(number)), "a": torch.arange(number + 1)}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_saved_state_is_loaded(tmp_path):
    ClientStateStore(tmp_path / "client").save(3, state(3))
    assert files(tmp_path / "client") == ["round-00003.safetensors"]
    assert equal(ClientStateStore(tmp_path / "client").load(3), state(3))


def test_empty_state_is_saved(tmp_path):
    ClientStateStore(tmp_path).save(1, {})
    assert ClientStateStore(tmp_path).load(1) == {}


def test_state_before_the_first_round_is_empty(tmp_path):
    assert ClientStateStore(tmp_path / "client").load(0) == {}
    assert not (tmp_path / "client").exists()


def test_equal_values_give_equal_bytes(tmp_path):
    matrix = torch.arange(6.0).reshape(2, 3)
    ClientStateStore(tmp_path / "one").save(1, {"a": matrix.T, "b": matrix, "c": matrix[1]})
    plain = {"c": matrix[1].clone(), "b": matrix.clone(), "a": matrix.T.contiguous()}
    ClientStateStore(tmp_path / "other").save(1, plain)
    one, other = (tmp_path / n / "round-00001.safetensors" for n in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_missing_file_is_an_error_with_round_and_folder(tmp_path):
    folder = tmp_path / "checkpoints" / "client_2"
    with pytest.raises(UserError) as error:
        ClientStateStore(folder).load(7)
    message = str(error.value)
    assert "after its round 7 is missing" in message
    assert str(folder) in message
    assert "hint: remove the experiment's folder of checkpoints" in message


@pytest.mark.parametrize("place", [0, 3, 20, -1])
def test_file_with_a_flipped_byte_is_rejected(tmp_path, place):
    ClientStateStore(tmp_path).save(7, state(7))
    file = tmp_path / "round-00007.safetensors"
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="after its round 7 is damaged"):
        ClientStateStore(tmp_path).load(7)


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_truncated_file_is_rejected(tmp_path, length):
    ClientStateStore(tmp_path).save(7, state(7))
    file = tmp_path / "round-00007.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match="after its round 7 is damaged"):
        ClientStateStore(tmp_path).load(7)


def test_unfinished_file_is_ignored_and_replaced(tmp_path):
    ClientStateStore(tmp_path).save(1, state(1))
    (tmp_path / ".round-00002.safetensors.partial").write_bytes(b"half")
    store = ClientStateStore(tmp_path)
    assert equal(store.load(1), state(1))
    store.save(2, state(2))
    assert files(tmp_path) == ["round-00001.safetensors", "round-00002.safetensors"]


def test_rounds_that_were_not_accepted_are_removed(tmp_path):
    """The server accepted round 1, and none of the rounds 2 to 9."""
    store = ClientStateStore(tmp_path, keep_last=2)
    store.save(1, state(1))
    for number in range(2, 10):
        store = ClientStateStore(tmp_path, keep_last=2)
        assert equal(store.load(1), state(1))
        store.save(number, state(number))
    assert files(tmp_path) == ["round-00001.safetensors", "round-00009.safetensors"]


def test_starting_over_removes_earlier_rounds(tmp_path):
    for number in (1, 2, 3):
        ClientStateStore(tmp_path).save(number, state(number))
    store = ClientStateStore(tmp_path)
    store.load(0)
    store.save(2, state(20))
    assert files(tmp_path) == ["round-00002.safetensors", "round-00003.safetensors"]
    assert equal(ClientStateStore(tmp_path).load(2), state(20))
    store.load(2)
    store.save(3, state(30))
    assert equal(ClientStateStore(tmp_path).load(3), state(30))


def test_late_save_removes_no_later_round(tmp_path):
    """A simulation may give a client's next round to another worker before this one ends."""
    ClientStateStore(tmp_path).save(4, state(4))
    late, other = ClientStateStore(tmp_path), ClientStateStore(tmp_path)
    late.load(4)
    other.load(4)
    other.save(6, state(6))
    late.save(5, state(5))
    assert equal(ClientStateStore(tmp_path).load(6), state(6))


events = st.lists(
    st.tuples(
        st.sampled_from(["not sampled", "accepted", "accepted", "late", "killed"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(keep=st.integers(2, 4), events=events)
def test_server_that_resumes_from_any_checkpoint_finds_the_state(tmp_path_factory, keep, events):
    """In each round a client is not sampled, accepted or late, or the run is killed."""
    folder = tmp_path_factory.mktemp("client")
    # By checkpoint: the last accepted round, and the content of its state.
    checkpoints: dict[int, tuple[int, int]] = {0: (0, 0)}
    for content, (event, num_lost) in enumerate(events, 1):
        newest = max(checkpoints)
        accepted, expected = checkpoints[newest]
        if event != "not sampled":
            store = ClientStateStore(folder, keep)
            assert equal(store.load(accepted), state(expected) if accepted else {})
            store.save(newest + 1, state(content))
            assert len(files(folder)) <= 2 * keep + 2
        if event == "killed":  # the newest checkpoints are damaged
            older = [n for n in checkpoints if n <= newest - num_lost]
            resumed = max(older or [min(checkpoints)])
            checkpoints = {n: c for n, c in checkpoints.items() if n <= resumed}
            continue
        is_accepted = event == "accepted"
        checkpoints[newest + 1] = (newest + 1, content) if is_accepted else (accepted, expected)
        checkpoints = {n: c for n, c in checkpoints.items() if n > newest + 1 - keep}
