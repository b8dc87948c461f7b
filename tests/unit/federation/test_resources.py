import pytest

from blossomtune.federation.resources import Resources


@pytest.mark.parametrize(
    ("share", "available", "device"), [(0, True, "cpu"), (0.5, False, "cpu"), (0.5, True, "cuda")]
)
def test_clients_train_on_a_gpu_if_they_have_a_share_of_one(monkeypatch, share, available, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    assert Resources(gpus_per_client=share).device == device
