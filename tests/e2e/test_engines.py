"""One federation on every engine that this host has."""

import pytest

from blossomtune.files import read_json, sha256


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("tls", [True, False])
def test_processes_make_the_same_adapter_as_a_simulation(federate, federation_files, tls):
    chosen = {"rounds": 3, "optimizer_state": "kept"}
    one = federate(federation_files, engine="simulation", **chosen)
    said = finished(one)
    two = federate(federation_files, engine="process", tls=tls, **chosen)
    finished(two)
    names = [sha256(p.adapter / "adapter_model.safetensors") for p in (one, two)]
    assert names[0] == names[1], said
    rounds = read_json(two.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, 3, 3, 3]
