import io
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects  # oracle
from flwr.supercore.inflatable.inflatable_utils import (  # oracle
    inflate_object_from_contents,
    push_objects,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.federation.messages import codec

PRECISIONS = ("float32", "bfloat16", "int8")
SHAPES = [(3, 20), (20, 3), (4, 4), (1, 7), (7, 1), (9,), (), (2, 3, 4)]

tensors = st.builds(
    lambda shape, seed, exponent: (
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    ),
    st.sampled_from(SHAPES),
    st.integers(0, 2**31),
    st.integers(-30, 30),
)
states = st.dictionaries(st.text(max_size=20) | st.just(codec.SCALES_NAME), tensors, max_size=5)


def there_and_back(state, precision, residual=None):
    record, left = codec.encode(state, precision, residual)
    return codec.decode(record), left


def half_a_scale(tensor):
    """The most that int8 may be off by, from its definition, number by number in float64."""
    values = tensor.double().numpy()
    if values.ndim == 2:
        along = 1 if values.shape[0] <= values.shape[1] else 0
        largest = np.abs(values).max(along, keepdims=True)
    else:
        largest = np.abs(values).max()
    return np.broadcast_to(largest / 127 / 2, values.shape)


def adapter(layers=30, r=8, seed=0):
    """An adapter of the shapes of SmolLM2-135M's."""
    hidden, inner, heads = 576, 1536, 192
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, heads),
        "self_attn.v_proj": (hidden, heads),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    generator = torch.Generator().manual_seed(seed)
    return {
        f"base_model.model.model.layers.{layer}.{module}.lora_{factor}.weight": torch.randn(
            shape, generator=generator
        )
        for layer in range(layers)
        for module, (k, d) in shapes.items()
        for factor, shape in (("A", (r, k)), ("B", (d, r)))
    }


@settings(max_examples=40)
@given(states)
def test_float32_arrives_bit_for_bit(state):
    found, left = there_and_back(state, "float32")
    assert left == {}
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].dtype == torch.float32
        assert found[name].numpy().tobytes() == value.numpy().tobytes()
        assert found[name].shape == value.shape


@settings(max_examples=40)
@given(states)
def test_bfloat16_is_off_by_half_of_its_last_digit(state):
    found, left = there_and_back(state, "bfloat16")
    assert left.keys() == state.keys()
    for name, value in state.items():
        off = (found[name].double() - value.double()).abs()
        assert (off <= value.double().abs() * 2.0**-8).all()
        assert torch.equal(found[name] + left[name], value)


def test_bfloat16_rounds_ties_to_even():
    ties = torch.tensor([1 + 1 / 256, 1 + 3 / 256, -1 - 1 / 256])
    found, _ = there_and_back({"x": ties}, "bfloat16")
    assert found["x"].tolist() == [1.0, 1 + 4 / 256, -1.0]


@settings(max_examples=60)
@given(states)
def test_int8_is_off_by_half_a_scale_and_says_by_how_much(state):
    found, left = there_and_back(state, "int8")
    assert found.keys() == left.keys() == state.keys()
    for name, value in state.items():
        bound = half_a_scale(value)
        off = value.double() - found[name].double()
        assert (off.abs().numpy() <= bound * 1.0001).all()
        assert torch.equal(left[name], value - found[name])


def test_a_channel_of_int8_is_a_rank_component():
    """A component a million times smaller than the others keeps its two digits."""
    factor = torch.randn(4, 50, generator=torch.Generator().manual_seed(3))
    factor[2] *= 1e-6
    found, _ = there_and_back({"lora_A": factor, "lora_B": factor.T}, "int8")
    for value in (found["lora_A"], found["lora_B"].T):
        off = (value - factor).norm(dim=1) / factor.norm(dim=1)
        assert (off < 0.01).all()


@settings(max_examples=40)
@given(states)
def test_what_int8_made_stays_when_it_is_rounded_again(state):
    once, _ = there_and_back(state, "int8")
    twice, left = there_and_back(once, "int8")
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-6, atol=0)
        assert (left[name].abs() <= value.abs() * 1e-6).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_zeros_stay_zeros(precision):
    state = {"lora_B": torch.zeros(9, 2), "lora_A": torch.tensor([[0.0, 0, 0], [1, 2, 3]])}
    found, left = there_and_back(state, precision)
    assert torch.equal(found["lora_B"], state["lora_B"])
    assert torch.equal(found["lora_A"][0], torch.zeros(3))
    assert all(torch.isfinite(value).all() for value in left.values())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("extent", [1e-45, 1e-43, 1e-38, 1e38])
def test_tiny_and_huge_values_stay_finite(precision, extent):
    value = torch.linspace(-extent, extent, 31)
    found, left = there_and_back({"x": value}, precision)
    off = (found["x"].double() - value.double()).abs().max()
    assert off <= max(extent / 200, 1e-40)
    assert torch.isfinite(found["x"]).all()
    if left:
        assert torch.equal(left["x"], value - found["x"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (6,)])
def test_what_is_not_finite_is_seen_on_the_other_side(precision, bad, shape):
    value = torch.ones(shape)
    value.view(-1)[4] = bad
    found, _ = there_and_back({"good": torch.ones(shape), "x": value}, precision)
    assert torch.isfinite(found["good"]).all()
    assert not torch.isfinite(found["x"].view(-1)[4])
    if np.isnan(bad):
        assert torch.isnan(found["x"].view(-1)[4])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nothing_is_something_to_send(precision):
    assert there_and_back({}, precision) == ({}, {})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_view_travels_like_a_copy_and_order_does_not_matter(precision):
    matrix = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    views = {"b": matrix.T, "a": matrix[::2]}
    copies = {"a": matrix[::2].clone(), "b": matrix.T.contiguous()}
    one, other = (codec.encode(state, precision)[0] for state in (views, copies))
    assert one.object_id == other.object_id


@settings(max_examples=20)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31), st.integers(1, 30))
def test_errors_do_not_add_up_over_rounds(shape, seed, rounds):
    """What was sent and what was meant differ, in sum, by the last remainder alone."""
    generator = torch.Generator().manual_seed(seed)
    meant = torch.zeros(shape, dtype=torch.float64)
    sent = torch.zeros(shape, dtype=torch.float64)
    residual, bound = {}, 0.0
    for _ in range(rounds):
        value = torch.randn(shape, generator=generator)
        before = residual.get("x", torch.zeros(shape))
        found, residual = there_and_back({"x": value}, "int8", residual)
        meant += value.double()
        sent += found["x"].double()
        bound = half_a_scale(value + before)
        assert ((meant - sent - residual["x"].double()).abs() <= 1e-5).all()
        assert ((meant - sent).abs().numpy() <= bound + 1e-5).all()


def test_without_what_is_left_over_errors_do_add_up():
    value = {"x": torch.tensor([[1.0, 0.001]])}  # below half a scale: always rounded to nothing
    sums = {}
    for feedback in (True, False):
        residual, total = {}, torch.zeros(1, 2)
        for _ in range(1000):
            found, left = there_and_back(value, "int8", residual)
            residual = left if feedback else {}
            total += found["x"]
        sums[feedback] = total[0, 1].item()
    assert sums[False] == 0
    assert sums[True] == pytest.approx(1.0, abs=1 / 127)


def test_small_steps_of_what_is_sent_as_bfloat16_arrive_in_the_end():
    """The server's number goes on from what clients got, and from what rounding left of it."""
    ends = {}
    for feedback in (True, False):
        mine, residual = {"x": torch.tensor([1 / 24])}, {}
        for _ in range(50):
            known, left = there_and_back(mine, "bfloat16", residual)
            residual = left if feedback else {}
            mine = {"x": known["x"] + 5e-5}  # less than half of bfloat16's last digit there
        ends[feedback] = mine["x"].item() + (residual["x"].item() if feedback else 0.0)
    assert ends[True] == pytest.approx(1 / 24 + 50 * 5e-5, abs=1e-6)
    assert ends[False] < 1 / 24 + 1e-3


def test_what_is_not_sent_this_time_keeps_its_remainder():
    a, b = torch.tensor([[1.0, 0.001]]), torch.tensor([[2.0, 0.003]])
    _, after_b = there_and_back({"b": b}, "int8")
    _, after_a = there_and_back({"a": a}, "int8", after_b)
    assert after_a.keys() == {"a", "b"}
    assert torch.equal(after_a["b"], after_b["b"])


def test_a_remainder_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the remainder of x is \(1, 3\), and the tensor is \(2"):
        codec.encode({"x": torch.ones(2, 3)}, "int8", {"x": torch.ones(1, 3)})


class TestMalformed:
    """The first of two tensors ends where the second one begins."""

    layout = '{"x.lora_A":[2,5],"y.lora_B":[5,3]}'

    def record(self, **changed):
        state = {"x.lora_A": torch.ones(2, 5), "y.lora_B": torch.ones(5, 3)}
        record, _ = codec.encode(state, "int8")
        assert set(record) == {self.layout, codec.SCALES_NAME}
        arrays = dict(record) | {name: Array(value) for name, value in changed.items()}
        return ArrayRecord(arrays)

    def test_types_that_are_not_known(self):
        for values in (np.ones(25), np.ones(25, ">f4"), np.ones(25, np.int32), np.ones(25, bool)):
            with pytest.raises(ValueError, match=r"array of tensors is \S+; float32, uint16 and"):
                codec.decode(self.record(**{self.layout: values}))

    @pytest.mark.parametrize(
        "layout",
        [
            *("", "x", "null", "[]", "[[2, 5]]", '{"x": 25', '{"x": 25}', '{"x": "a"}'),
            *('{"x": [24]}', '{"x": [26]}', '{"x": [25, 1.0]}', '{"x": [true, 25]}'),
            *('{"x": [-5, -5]}', '{"x": [25], "y": [0]}', '{"x": [[25]]}', "[" * 10**5),
        ],
    )
    def test_names_that_do_not_say_what_there_is(self, layout):
        with pytest.raises(ValueError, match=r"an array \(25,\) is not what its name says"):
            codec.decode(ArrayRecord({layout: Array(np.ones(25, np.float32))}))

    @pytest.mark.parametrize("shape", [(5, 5), (25, 1), ()])
    def test_an_array_of_another_shape(self, shape):
        with pytest.raises(ValueError, match="is not what its name says"):
            codec.decode(self.record(**{self.layout: np.ones(shape, np.float32)}))

    def test_scales_that_are_missing(self):
        record = self.record()
        del record[codec.SCALES_NAME]
        with pytest.raises(ValueError, match=r"is torch.float32 \(0,\) .* \(5,\).* x.lora_A"):
            codec.decode(record)

    @pytest.mark.parametrize(
        "scales", [np.ones(4, "f4"), np.ones((5, 1), "f4"), np.ones(5, "i1"), np.ones(5, "u2")]
    )
    def test_scales_that_do_not_fit(self, scales):
        with pytest.raises(ValueError, match="channel scales is"):
            codec.decode(self.record(**{codec.SCALES_NAME: scales}))

    def test_scales_of_nothing(self):
        record, _ = codec.encode({"x": torch.ones(2, 5)}, "float32")
        record[codec.SCALES_NAME] = Array(np.ones(5, np.float32))
        with pytest.raises(ValueError, match=r"channel scales is .* \(5,\) instead .* \(0,\)"):
            codec.decode(record)

    def test_data_that_is_no_array(self):
        archive = io.BytesIO()
        np.savez(archive, np.ones(3))
        pickled = io.BytesIO()
        np.save(pickled, np.array([{}]), allow_pickle=True)
        for data in (b"", b"nonsense", archive.getvalue(), pickled.getvalue()):
            record = self.record()
            record[self.layout] = Array("int8", (25,), "numpy.ndarray", data)
            with pytest.raises(ValueError, match="the array of tensors cannot be read: "):
                codec.decode(record)

    @settings(max_examples=300)
    @given(st.integers(0, 152), st.binary(min_size=0, max_size=6))
    def test_damaged_data_gives_numbers_or_is_refused(self, place, bytes_):
        record = self.record()
        whole = record[self.layout].data
        data = whole[:place] + bytes_ + whole[place + max(len(bytes_), 1) :]
        record[self.layout] = Array("int8", (25,), "numpy.ndarray", data)
        try:
            assert codec.decode(record)["x.lora_A"].dtype == torch.float32
        except ValueError as error:
            assert re.search("array of tensors|channel scales|what its name says", str(error))


def pushed(content):
    """What Flower pushes for the content of a message: the bytes of its objects by their ids."""
    contents = {}
    push_objects(get_all_nested_objects(content), contents.__setitem__)
    return contents


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_size_is_that_of_the_objects_that_flower_pushes(precision):
    state = adapter(layers=2) | {"zeros": torch.zeros(40, 2), "more zeros": torch.zeros(40, 2)}
    record, _ = codec.encode(state, precision)
    content = RecordDict({"adapter": record, "round": ConfigRecord({"round": 3})})
    counted = codec.count_message_bytes(content)
    contents = pushed(content)
    assert counted == sum(map(len, contents.values()))

    arrived = inflate_object_from_contents(content.object_id, contents)
    assert codec.count_message_bytes(arrived) == counted
    found = codec.decode(arrived["adapter"])
    expected = codec.decode(record)
    assert all(torch.equal(found[name], expected[name]) for name in state)


@pytest.mark.parametrize(("precision", "each"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_a_message_is_little_more_than_its_numbers(precision, each):
    state = adapter(layers=10)
    numbers = sum(value.numel() for value in state.values())
    counted = codec.count_message_bytes(RecordDict({"adapter": codec.encode(state, precision)[0]}))
    assert numbers * each < counted < numbers * each * 1.1
    if precision == "float32":
        assert counted == pytest.approx(len(safetensors.torch.save(state)), rel=0.03)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_message_is_few_objects_however_many_tensors_there_are(precision):
    """Flower asks for each of them by itself."""
    content = RecordDict({"adapter": codec.encode(adapter(), precision)[0]})
    assert len(pushed(content)) <= 6
