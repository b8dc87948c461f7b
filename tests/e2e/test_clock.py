"""The clock of the machine is set back or forth by an hour while a federation runs."""

import pytest
from federate_process import SIMULATED_KEYS
from shifted_clock import ShiftedClock


@pytest.mark.engine
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_that_is_set_during_a_round_changes_nothing(
    engine, simulated_run, federate, federation_files, tmp_path, monkeypatch, seconds
):
    engine("process")
    clock = ShiftedClock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    process = federate(federation_files, engine="process", min_clients=3, **SIMULATED_KEYS)
    process.wait_for_round(1)
    clock.set(seconds)
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2]] * 3, output
    assert process.hash_adapter() == simulated_run.hash_adapter()
