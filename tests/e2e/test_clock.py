"""The clock of the machine is set forth and back by an hour while a federation runs."""

import pytest
from federate_process import EXPECTED_KEYS
from shifted_clock import ShiftedClock


@pytest.mark.engine
def test_clock_that_is_set_during_a_round_changes_nothing(
    engine, expected_hash, federate, federation_files, tmp_path, monkeypatch
):
    engine("process")
    clock = ShiftedClock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    process = federate(federation_files, engine="process", min_clients=3, **EXPECTED_KEYS)
    for number, seconds in ((1, 3600), (2, -3600)):
        process.wait_for_round(number)
        clock.set(seconds)
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2]] * 3, output
    assert process.hash_adapter() == expected_hash
