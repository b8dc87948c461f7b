import torch
from safetensors.torch import save_file

from blossomtune.modeling.safetensors_header import read_header


def test_header_says_where_tensors_are(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(3.0), "b": torch.ones(2, 2).bfloat16()}, path, {"format": "pt"})
    tensors, start = read_header(path)
    assert {name: (t["dtype"], t["shape"]) for name, t in tensors.items()} == {
        "a": ("F32", [3]),
        "b": ("BF16", [2, 2]),
    }
    begin, end = tensors["a"]["data_offsets"]
    data = path.read_bytes()[start + begin : start + end]
    assert torch.frombuffer(bytearray(data), dtype=torch.float32).tolist() == [0, 1, 2]
