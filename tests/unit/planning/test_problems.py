"""Needs are compared with the machine; a message has the sum and what would help."""

from blossomtune.artifacts.plan import Machine, MemoryPart, StageNeeds
from blossomtune.planning.problems import add_problems, find_disk_problem

GB = 10**9
RAM = (MemoryPart(part="base weights", size=3 * GB, count=4), MemoryPart(part="server", size=GB))
MACHINE = Machine(ram=13 * GB, gpus=[24 * GB, 16 * GB], disk=GB)


def build_needs(**fields):
    return StageNeeds(**{"stage": "federate", "block": "x", "ram": RAM} | fields)


def find_problems(machine=MACHINE, limits=None, **fields):
    needs = build_needs(**fields)
    return add_problems(needs, machine, limits or {}, lambda on_gpu: [f"gpu: {on_gpu}"]).problems


def test_what_fits_has_no_problem():
    assert find_problems() == ()


def test_message_has_the_sum_and_the_hints():
    [problem] = find_problems(MACHINE.model_copy(update={"ram": 12 * GB}))
    assert problem == (
        "needs 13.0 GB of memory, 12.0 GB are free: 4 × 3.00 base weights + 1.00 server\n"
        "  - gpu: False"
    )


def test_limit_of_a_cluster_replaces_the_free_memory():
    [problem] = find_problems(limits={"federate": 8 * GB})
    assert "8.0 GB resources.mem_mb allows" in problem
    assert find_problems(limits={"evaluate": 8 * GB}) == ()


def test_smallest_gpu_decides():
    gpu = (MemoryPart(part="training", size=10 * GB, count=2),)
    [problem] = find_problems(gpu=gpu)
    assert problem.startswith("needs 20.0 GB of a GPU, 16.0 GB it has: 2 × 10.00 training")
    assert find_problems(MACHINE.model_copy(update={"gpus": [24 * GB]}), gpu=gpu) == ()


def test_disk_counts_what_is_not_written_yet():
    written = build_needs(stage="download", disk=5 * GB, basis="measured")
    merge = build_needs(stage="merge", disk=2 * GB)
    assert find_disk_problem([written], MACHINE) is None
    problem = find_disk_problem([written, merge], MACHINE)
    assert problem == "the results need 2.0 GB of disk, and 1.0 GB are free: merge x 2.0"
