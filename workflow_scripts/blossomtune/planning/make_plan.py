"""Plan a run: estimate, compare with the machine, measure a step where it fits."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from blossomtune.artifacts.plan import Machine, Plan, StageNeeds
from blossomtune.planning import other_needs, training_needs
from blossomtune.planning.experiment import PlannedExperiment
from blossomtune.planning.hints import rank_hints
from blossomtune.planning.machine import get_process_memory, read_machine
from blossomtune.planning.measure_step import MeasuredStep, measure_step_in_subprocess
from blossomtune.planning.problems import add_problems

logger = logging.getLogger(__name__)


def make_plan(
    config: Mapping[str, Any],
    results: Path,
    cores: int,
    limits: Mapping[str, int],
    machine: Machine | None = None,
) -> Plan:
    """Plan the experiments of a run, whose models and tokenized rows exist.

    Args:
        config: Result of ``blossomtune.config.stage_inputs.plan``.
        results: Folder of the results.
        cores: CPU cores of the machine.
        limits: Main memory in bytes that a cluster gives to a stage, by stage.
        machine: Memory of the machine; by default that of this one.

    Returns:
        The plan.
    """
    machine = machine or read_machine(results)
    get_process_memory()  # before the estimates, whose leftovers grow with the model
    stages: dict[tuple[str, str], StageNeeds] = {}
    for name, settings in config.items():
        experiment = PlannedExperiment(name, settings, results, cores, len(machine.gpus))
        for needs in plan_experiment(experiment, machine, limits):
            stages[needs.stage, needs.block] = needs
    return Plan(machine=machine, stages=list(stages.values()))


def plan_experiment(
    experiment: PlannedExperiment, machine: Machine, limits: Mapping[str, int]
) -> Sequence[StageNeeds]:
    """Return the needs of an experiment's stages. A step is measured only where it fits.

    Args:
        experiment: The experiment.
        machine: Memory of the machine.
        limits: Main memory in bytes that a cluster gives to a stage, by stage.

    Returns:
        One entry per stage; those of all baselines are one.
    """
    stages = other_needs.list_finished_stages(experiment)
    step = None
    if experiment.has_local_rows:
        logger.info("%s: estimating the memory of a training step", experiment.name)
        training, step = _plan_training(experiment, machine, limits)
        stages += training
    later = [
        other_needs.estimate_merge(experiment),
        other_needs.estimate_evaluate(experiment, step),
    ]
    if experiment.config["benchmarks"]:
        later.append(other_needs.estimate_benchmark(experiment))
    if experiment.config["gguf"]:
        later.append(other_needs.estimate_export(experiment))
    return stages + [add_problems(n, machine, limits, partial(_get_hints, n.stage)) for n in later]


def _get_hints(stage: str, on_gpu: bool) -> list[str]:
    """Return changes that would save memory of stages after training."""
    if stage not in ("evaluate", "benchmark"):
        return []
    hints = ["evaluation.batch_size: a smaller one"]
    return [*hints, "evaluation.device: cpu"] if on_gpu else hints


def _plan_training(
    experiment: PlannedExperiment, machine: Machine, limits: Mapping[str, int]
) -> tuple[list[StageNeeds], MeasuredStep | None]:
    """Return the needs of federate and of the baselines, and the measured step."""
    memory, baselines = training_needs.estimate_client_memory(experiment), experiment.baselines

    def list_hints(needs: StageNeeds, on_gpu: bool) -> list[str]:
        workers = experiment.count_workers() if needs.stage == "federate" else 1
        count = -(-workers // experiment.num_gpus) if on_gpu else workers
        return rank_hints(experiment, memory, count, on_gpu=on_gpu)

    def estimate(step: MeasuredStep | None) -> list[StageNeeds]:
        stages = [training_needs.estimate_federate(experiment, memory, step)]
        if baselines.centralised or baselines.local:
            stages.append(training_needs.estimate_baseline(experiment, memory, step))
        return [add_problems(n, machine, limits, partial(list_hints, n)) for n in stages]

    stages = estimate(None)
    if any(needs.problems for needs in stages):
        return stages, None
    logger.info("%s: measuring a training step", experiment.name)
    step = measure_step_in_subprocess(experiment.run)
    return estimate(step), step
