import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.errors import UserError
from blossomtune.federation.client.state_store import ClientStateStore


def state(number):
    return {"b": torch.full((2, 3), float(number)), "a": torch.arange(number + 1)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_kept_comes_back(tmp_path):
    ClientStateStore(tmp_path / "client").save(3, state(3))
    assert files(tmp_path / "client") == ["round-00003.safetensors"]
    assert same(ClientStateStore(tmp_path / "client").load(3), state(3))


def test_nothing_may_be_kept(tmp_path):
    ClientStateStore(tmp_path).save(1, {})
    assert ClientStateStore(tmp_path).load(1) == {}


def test_before_the_first_round_there_is_nothing(tmp_path):
    assert ClientStateStore(tmp_path / "client").load(0) == {}
    assert not (tmp_path / "client").exists()


def test_the_same_values_give_the_same_bytes(tmp_path):
    matrix = torch.arange(6.0).reshape(2, 3)
    ClientStateStore(tmp_path / "one").save(1, {"a": matrix.T, "b": matrix, "c": matrix[1]})
    plain = {"c": matrix[1].clone(), "b": matrix.clone(), "a": matrix.T.contiguous()}
    ClientStateStore(tmp_path / "other").save(1, plain)
    one, other = (tmp_path / n / "round-00001.safetensors" for n in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_missing_file_names_its_round_and_folder(tmp_path):
    folder = tmp_path / "checkpoints" / "client_2"
    with pytest.raises(UserError) as error:
        ClientStateStore(folder).load(7)
    said = str(error.value)
    assert "after its round 7 is missing" in said
    assert str(folder) in said
    assert "hint: remove the experiment's folder of checkpoints" in said


@pytest.mark.parametrize("place", [0, 3, 20, -1])
def test_a_flipped_byte_is_noticed(tmp_path, place):
    ClientStateStore(tmp_path).save(7, state(7))
    file = tmp_path / "round-00007.safetensors"
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="after its round 7 is damaged"):
        ClientStateStore(tmp_path).load(7)


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_cut_file_is_noticed(tmp_path, length):
    ClientStateStore(tmp_path).save(7, state(7))
    file = tmp_path / "round-00007.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(UserError, match="after its round 7 is damaged"):
        ClientStateStore(tmp_path).load(7)


def test_an_unfinished_file_is_none_and_goes(tmp_path):
    ClientStateStore(tmp_path).save(1, state(1))
    (tmp_path / ".round-00002.safetensors.partial").write_bytes(b"half")
    memory = ClientStateStore(tmp_path)
    assert same(memory.load(1), state(1))
    memory.save(2, state(2))
    assert files(tmp_path) == ["round-00001.safetensors", "round-00002.safetensors"]


def test_rounds_that_did_not_count_are_forgotten(tmp_path):
    """The server never took rounds 2 to 9; that of round 1 must outlive them all."""
    memory = ClientStateStore(tmp_path, keep_last=2)
    memory.save(1, state(1))
    for number in range(2, 10):
        memory = ClientStateStore(tmp_path, keep_last=2)
        assert same(memory.load(1), state(1))
        memory.save(number, state(number))
    assert files(tmp_path) == ["round-00001.safetensors", "round-00009.safetensors"]


def test_starting_over_forgets_all(tmp_path):
    for number in (1, 2, 3):
        ClientStateStore(tmp_path).save(number, state(number))
    memory = ClientStateStore(tmp_path)
    memory.load(0)
    memory.save(2, state(20))
    assert files(tmp_path) == ["round-00002.safetensors", "round-00003.safetensors"]
    assert same(ClientStateStore(tmp_path).load(2), state(20))
    memory.load(2)
    memory.save(3, state(30))
    assert same(ClientStateStore(tmp_path).load(3), state(30))


def test_who_is_late_takes_nothing_from_who_went_on(tmp_path):
    """A simulation may hand a client's next round to another worker before this one is through."""
    ClientStateStore(tmp_path).save(4, state(4))
    late, other = ClientStateStore(tmp_path), ClientStateStore(tmp_path)
    late.load(4)
    other.load(4)
    other.save(6, state(6))
    late.save(5, state(5))
    assert same(ClientStateStore(tmp_path).load(6), state(6))


events = st.lists(
    st.tuples(
        st.sampled_from(["out", "counts", "counts", "late", "killed"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(keep=st.integers(2, 4), events=events)
def test_a_server_that_goes_back_finds_what_it_asks_for(tmp_path_factory, keep, events):
    """In each round a client sits out, counts, is late, or the run is killed and falls back."""
    folder = tmp_path_factory.mktemp("client")
    kept: dict[int, tuple[int, int]] = {0: (0, 0)}  # by checkpoint: what counted, and its content
    for content, (what, back) in enumerate(events, 1):
        newest = max(kept)
        counted, expected = kept[newest]
        if what != "out":
            memory = ClientStateStore(folder, keep)
            found = memory.load(counted)
            assert same(found, state(expected) if counted else {})
            memory.save(newest + 1, state(content))
            assert len(files(folder)) <= 2 * keep + 2
        if what == "killed":  # the checkpoints after the one it falls back to are damaged
            going_on = max([n for n in kept if n <= newest - back] or [min(kept)])
            kept = {n: c for n, c in kept.items() if n <= going_on}
            continue
        kept[newest + 1] = (newest + 1, content) if what == "counts" else (counted, expected)
        kept = {n: c for n, c in kept.items() if n > newest + 1 - keep}
