from flwr.supercore import differential_privacy  # oracle

from blossomtune.privacy import clipping, record_keys


def test_record_keys_are_those_of_flower():
    assert record_keys.CLIPPING_NORM_KEY == differential_privacy.KEY_CLIPPING_NORM
    assert record_keys.NORM_BIT_KEY == differential_privacy.KEY_NORM_BIT


def test_noise_stddev_is_that_of_flower():
    args = (1.3, 0.7, 3)
    assert clipping.compute_noise_stddev(*args) == differential_privacy.compute_stdv(*args)
