import numpy as np
import pytest
import safetensors.torch
import torch
from private_rounds import build_strategy, client_results, zeros

from blossomtune.config.federation import PrivacySettings
from blossomtune.errors import UserError
from blossomtune.privacy import noise_seed


def draw_noise(seed=7, round_number=1, update_norm=0.05, **privacy):
    """Return the noise of one round in units of its standard deviation."""
    results = client_results(update_norm)
    strategy = build_strategy(seed, **privacy)
    state = strategy.aggregate_train(round_number, zeros(), results)
    difference = state["one"].double() - results[0].state["one"]
    return difference / strategy.get_privacy_metrics()["noise_deviation"]


def write_secret(folder, content=b"0123456789abcdef", mode=0o600):
    file = folder / f"secret-{content.hex()[:8]}"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


def test_noise_depends_on_everything_it_is_added_to_and_on_nothing_else(tmp_path):
    """With equal noise in two runs, the difference of their adapters would be free of it."""
    one, two = write_secret(tmp_path), write_secret(tmp_path, b"another one of 24 bytes.")
    np.random.seed(1)
    first = draw_noise()
    np.random.seed(2)
    before = np.random.get_state()
    assert torch.equal(first, draw_noise())
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))
    others = [
        draw_noise(seed=8),
        draw_noise(round_number=2),
        draw_noise(update_norm=0.050001),
        draw_noise(noise_multiplier=2.0),
        draw_noise(clipping_norm=0.2),
        draw_noise(secret=one),
        draw_noise(secret=two),
        draw_noise(secret=one, round_number=2),
    ]
    assert torch.equal(draw_noise(secret=one), draw_noise(secret=one))
    for i, a in enumerate([first, *others]):
        assert not any(torch.allclose(a, b, rtol=0.1, atol=0.1) for b in others[i:])
        assert 0.5 < float(a.std()) < 1.6


def test_secret_is_never_written_or_printed(tmp_path, capfd):
    content = bytes(range(65, 91))
    privacy = {"secret": write_secret(tmp_path, content), "clipping": "adaptive"}
    strategy = build_strategy(**privacy)
    strategy.aggregate_train(1, zeros(), client_results(0.1, 0.2))
    state = strategy.state_dict()
    output = safetensors.torch.save(state).hex() + repr(vars(state["clipping_norm"]))
    output += repr(strategy.get_privacy_metrics()) + repr(strategy.configure_train())
    output += "".join(capfd.readouterr())
    fingerprint = noise_seed.fingerprint_secret(PrivacySettings(**privacy))
    for text in (output, fingerprint):
        assert content.hex() not in text and content.decode() not in text
    assert fingerprint == noise_seed.fingerprint_secret(PrivacySettings(**privacy))
    other = PrivacySettings(secret=write_secret(tmp_path, content[::-1]))
    assert fingerprint != noise_seed.fingerprint_secret(other)
    assert noise_seed.fingerprint_secret(PrivacySettings()) is None


def test_unusable_secret_is_rejected_before_training(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        build_strategy(secret=str(tmp_path / "none"))
    with pytest.raises(UserError, match="has 15 bytes, at least 16"):
        build_strategy(secret=write_secret(tmp_path, bytes(15)))
    for mode in (0o640, 0o604, 0o620):
        with pytest.raises(UserError, match="open to others than its owner"):
            build_strategy(secret=write_secret(tmp_path, mode=mode))
