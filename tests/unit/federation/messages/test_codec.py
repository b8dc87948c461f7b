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


def round_trip(state, precision, residual=None):
    record, residual = codec.encode(state, precision, residual)
    return codec.decode(record), residual


def half_scale(tensor):
    """Return the largest error of int8 by its definition, per value in float64."""
    values = tensor.double().numpy()
    if values.ndim == 2:
        along = 1 if values.shape[0] <= values.shape[1] else 0
        largest = np.abs(values).max(along, keepdims=True)
    else:
        largest = np.abs(values).max()
    return np.broadcast_to(largest / 127 / 2, values.shape)


def adapter(layers=30, r=8, seed=0):
    """Return an adapter with the shapes of SmolLM2-135M."""
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
def test_float32_is_exact(state):
    decoded, residual = round_trip(state, "float32")
    assert residual == {}
    assert decoded.keys() == state.keys()
    for name, value in state.items():
        assert decoded[name].dtype == torch.float32
        assert decoded[name].numpy().tobytes() == value.numpy().tobytes()
        assert decoded[name].shape == value.shape


@settings(max_examples=40)
@given(states)
def test_bfloat16_error_is_at_most_half_of_its_last_digit(state):
    decoded, residual = round_trip(state, "bfloat16")
    assert residual.keys() == state.keys()
    for name, value in state.items():
        error = (decoded[name].double() - value.double()).abs()
        assert (error <= value.double().abs() * 2.0**-8).all()
        assert torch.equal(decoded[name] + residual[name], value)


def test_bfloat16_rounds_ties_to_even():
    ties = torch.tensor([1 + 1 / 256, 1 + 3 / 256, -1 - 1 / 256])
    decoded, _ = round_trip({"x": ties}, "bfloat16")
    assert decoded["x"].tolist() == [1.0, 1 + 4 / 256, -1.0]


@settings(max_examples=60)
@given(states)
def test_int8_error_is_at_most_half_a_scale_and_is_the_residual(state):
    decoded, residual = round_trip(state, "int8")
    assert decoded.keys() == residual.keys() == state.keys()
    for name, value in state.items():
        bound = half_scale(value)
        error = value.double() - decoded[name].double()
        assert (error.abs().numpy() <= bound * 1.0001).all()
        assert torch.equal(residual[name], value - decoded[name])


def test_int8_channel_is_a_rank_component():
    """A component that is a million times smaller keeps its two digits."""
    factor = torch.randn(4, 50, generator=torch.Generator().manual_seed(3))
    factor[2] *= 1e-6
    decoded, _ = round_trip({"lora_A": factor, "lora_B": factor.T}, "int8")
    for value in (decoded["lora_A"], decoded["lora_B"].T):
        error = (value - factor).norm(dim=1) / factor.norm(dim=1)
        assert (error < 0.01).all()


@settings(max_examples=40)
@given(states)
def test_rounding_to_int8_twice_changes_nothing_more(state):
    once, _ = round_trip(state, "int8")
    twice, residual = round_trip(once, "int8")
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-6, atol=0)
        assert (residual[name].abs() <= value.abs() * 1e-6).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_zeros_stay_zeros(precision):
    state = {"lora_B": torch.zeros(9, 2), "lora_A": torch.tensor([[0.0, 0, 0], [1, 2, 3]])}
    decoded, residual = round_trip(state, precision)
    assert torch.equal(decoded["lora_B"], state["lora_B"])
    assert torch.equal(decoded["lora_A"][0], torch.zeros(3))
    assert all(torch.isfinite(value).all() for value in residual.values())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("extent", [1e-45, 1e-43, 1e-38, 1e38])
def test_tiny_and_huge_values_stay_finite(precision, extent):
    value = torch.linspace(-extent, extent, 31)
    decoded, residual = round_trip({"x": value}, precision)
    error = (decoded["x"].double() - value.double()).abs().max()
    assert error <= max(extent / 200, 1e-40)
    assert torch.isfinite(decoded["x"]).all()
    if residual:
        assert torch.equal(residual["x"], value - decoded["x"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (6,)])
def test_nan_and_infinity_stay_visible(precision, bad, shape):
    value = torch.ones(shape)
    value.view(-1)[4] = bad
    decoded, _ = round_trip({"good": torch.ones(shape), "x": value}, precision)
    assert torch.isfinite(decoded["good"]).all()
    assert not torch.isfinite(decoded["x"].view(-1)[4])
    if np.isnan(bad):
        assert torch.isnan(decoded["x"].view(-1)[4])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_empty_state_is_encoded(precision):
    assert round_trip({}, precision) == ({}, {})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_views_and_order_do_not_change_the_encoding(precision):
    matrix = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    views = {"b": matrix.T, "a": matrix[::2]}
    copies = {"a": matrix[::2].clone(), "b": matrix.T.contiguous()}
    one, other = (codec.encode(state, precision)[0] for state in (views, copies))
    assert one.object_id == other.object_id


@settings(max_examples=20)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31), st.integers(1, 30))
def test_errors_do_not_accumulate_over_rounds(shape, seed, rounds):
    """The sums of exact and of decoded values differ by the last residual only."""
    generator = torch.Generator().manual_seed(seed)
    exact = torch.zeros(shape, dtype=torch.float64)
    sent = torch.zeros(shape, dtype=torch.float64)
    residual, bound = {}, 0.0
    for _ in range(rounds):
        value = torch.randn(shape, generator=generator)
        before = residual.get("x", torch.zeros(shape))
        decoded, residual = round_trip({"x": value}, "int8", residual)
        exact += value.double()
        sent += decoded["x"].double()
        bound = half_scale(value + before)
        assert ((exact - sent - residual["x"].double()).abs() <= 1e-5).all()
        assert ((exact - sent).abs().numpy() <= bound + 1e-5).all()


def test_errors_accumulate_without_the_residual():
    value = {"x": torch.tensor([[1.0, 0.001]])}  # below half a scale: always rounded to nothing
    sums = {}
    for feedback in (True, False):
        residual, total = {}, torch.zeros(1, 2)
        for _ in range(1000):
            decoded, residual = round_trip(value, "int8", residual)
            residual = residual if feedback else {}
            total += decoded["x"]
        sums[feedback] = total[0, 1].item()
    assert sums[False] == 0
    assert sums[True] == pytest.approx(1.0, abs=1 / 127)


def test_steps_below_the_resolution_of_bfloat16_are_not_lost():
    """The server continues from what clients received, and from the residual."""
    ends = {}
    for feedback in (True, False):
        mine, residual = {"x": torch.tensor([1 / 24])}, {}
        for _ in range(50):
            known, residual = round_trip(mine, "bfloat16", residual)
            residual = residual if feedback else {}
            mine = {"x": known["x"] + 5e-5}  # less than half of bfloat16's last digit there
        ends[feedback] = mine["x"].item() + (residual["x"].item() if feedback else 0.0)
    assert ends[True] == pytest.approx(1 / 24 + 50 * 5e-5, abs=1e-6)
    assert ends[False] < 1 / 24 + 1e-3


def test_tensor_that_is_not_sent_keeps_its_residual():
    a, b = torch.tensor([[1.0, 0.001]]), torch.tensor([[2.0, 0.003]])
    _, after_b = round_trip({"b": b}, "int8")
    _, after_a = round_trip({"a": a}, "int8", after_b)
    assert after_a.keys() == {"a", "b"}
    assert torch.equal(after_a["b"], after_b["b"])


def test_residual_of_another_shape_is_rejected():
    with pytest.raises(ValueError, match=r"the residual of x is \(1, 3\), and the tensor is \(2"):
        codec.encode({"x": torch.ones(2, 3)}, "int8", {"x": torch.ones(1, 3)})


class TestMalformedRecord:
    """Records of two tensors that a malicious client has changed."""

    layout = '{"x.lora_A":[2,5],"y.lora_B":[5,3]}'

    def record(self, **changed):
        state = {"x.lora_A": torch.ones(2, 5), "y.lora_B": torch.ones(5, 3)}
        record, _ = codec.encode(state, "int8")
        assert set(record) == {self.layout, codec.SCALES_NAME}
        arrays = dict(record) | {name: Array(value) for name, value in changed.items()}
        return ArrayRecord(arrays)

    def test_unknown_dtype_is_rejected(self):
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
    def test_layout_that_does_not_fit_is_rejected(self, layout):
        with pytest.raises(ValueError, match=r"an array \(25,\) is not what its name says"):
            codec.decode(ArrayRecord({layout: Array(np.ones(25, np.float32))}))

    @pytest.mark.parametrize("shape", [(5, 5), (25, 1), ()])
    def test_array_of_another_shape_is_rejected(self, shape):
        with pytest.raises(ValueError, match="is not what its name says"):
            codec.decode(self.record(**{self.layout: np.ones(shape, np.float32)}))

    def test_missing_scales_are_rejected(self):
        record = self.record()
        del record[codec.SCALES_NAME]
        with pytest.raises(ValueError, match=r"is torch.float32 \(0,\) .* \(5,\).* x.lora_A"):
            codec.decode(record)

    @pytest.mark.parametrize(
        "scales", [np.ones(4, "f4"), np.ones((5, 1), "f4"), np.ones(5, "i1"), np.ones(5, "u2")]
    )
    def test_scales_that_do_not_fit_are_rejected(self, scales):
        with pytest.raises(ValueError, match="channel scales is"):
            codec.decode(self.record(**{codec.SCALES_NAME: scales}))

    def test_scales_without_int8_are_rejected(self):
        record, _ = codec.encode({"x": torch.ones(2, 5)}, "float32")
        record[codec.SCALES_NAME] = Array(np.ones(5, np.float32))
        with pytest.raises(ValueError, match=r"channel scales is .* \(5,\) instead .* \(0,\)"):
            codec.decode(record)

    def test_data_that_is_no_array_is_rejected(self):
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
    def test_damaged_data_is_decoded_or_rejected(self, place, bytes_):
        record = self.record()
        whole = record[self.layout].data
        data = whole[:place] + bytes_ + whole[place + max(len(bytes_), 1) :]
        record[self.layout] = Array("int8", (25,), "numpy.ndarray", data)
        try:
            assert codec.decode(record)["x.lora_A"].dtype == torch.float32
        except ValueError as error:
            assert re.search("array of tensors|channel scales|what its name says", str(error))


def push(content):
    """Return the bytes of all objects that Flower sends for a content, by object id."""
    contents = {}
    push_objects(get_all_nested_objects(content), contents.__setitem__)
    return contents


@pytest.mark.parametrize("precision", PRECISIONS)
def test_size_is_that_of_the_objects_that_flower_sends(precision):
    state = adapter(layers=2) | {"zeros": torch.zeros(40, 2), "more zeros": torch.zeros(40, 2)}
    record, _ = codec.encode(state, precision)
    content = RecordDict({"adapter": record, "round": ConfigRecord({"round": 3})})
    counted = codec.count_message_bytes(content)
    contents = push(content)
    assert counted == sum(map(len, contents.values()))

    arrived = inflate_object_from_contents(content.object_id, contents)
    assert codec.count_message_bytes(arrived) == counted
    decoded = codec.decode(arrived["adapter"])
    expected = codec.decode(record)
    assert all(torch.equal(decoded[name], expected[name]) for name in state)


@pytest.mark.parametrize(("precision", "each"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_message_is_at_most_a_tenth_larger_than_its_values(precision, each):
    state = adapter(layers=10)
    numbers = sum(value.numel() for value in state.values())
    counted = codec.count_message_bytes(RecordDict({"adapter": codec.encode(state, precision)[0]}))
    assert numbers * each < counted < numbers * each * 1.1
    if precision == "float32":
        assert counted == pytest.approx(len(safetensors.torch.save(state)), rel=0.03)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_number_of_objects_does_not_grow_with_tensors(precision):
    """Flower requests each object by itself."""
    content = RecordDict({"adapter": codec.encode(adapter(), precision)[0]})
    assert len(push(content)) <= 6
