import pytest
import torch

from blossomtune.federation.messages import codec, requests

STATE = {"a.lora_A.weight": torch.ones(2, 3), "a.lora_B.weight": torch.zeros(4, 2)}
RUN_NAME = "0123456789abcdef"


@pytest.mark.parametrize("name", ["", "../../../etc", "0123456789ABCDEF", f"{RUN_NAME}/x"])
def test_run_name_that_is_no_identifier_is_rejected(name):
    record, _ = codec.encode(STATE, "float32")
    with pytest.raises(ValueError, match="which is no run's name"):
        requests.decode_request(requests.encode_request(record, 1, 0, 0, name))


def test_request_is_decoded_as_it_was_encoded():
    record, _ = codec.encode(STATE, "float32")
    base_deltas = {3: {"a": (torch.randn(4, 1), torch.randn(1, 3))}}
    content = requests.encode_request(
        record,
        5,
        3,
        2,
        RUN_NAME,
        base_deltas=requests.encode_base_deltas(base_deltas, "float32"),
        server_control=codec.encode(STATE, "float32")[0],
        extra_config={"clipping": 0.5},
    )
    request = requests.decode_request(content)
    assert (request.round, request.last_participation, request.run_name) == (5, 3, RUN_NAME)
    assert request.sampled_rounds == 2
    assert all(torch.equal(request.state[n], STATE[n]) for n in STATE)
    assert all(torch.equal(request.server_control[n], STATE[n]) for n in STATE)
    for decoded, sent in zip(request.base_deltas[3]["a"], base_deltas[3]["a"], strict=True):
        assert torch.equal(decoded, sent)


def test_request_without_base_deltas_and_control_has_none():
    record, _ = codec.encode(STATE, "float32")
    request = requests.decode_request(requests.encode_request(record, 1, 0, 0, RUN_NAME))
    assert request.base_deltas == {}
    assert request.server_control is None
