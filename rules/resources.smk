# Resources of the rules: cores, GPUs, nodes and containers.
import math
from types import SimpleNamespace


def is_cluster():
    """Return whether jobs run elsewhere, by an executor."""
    return workflow.remote_exec or workflow.non_local_exec


def plan_threads(wildcards):
    """Return the cores that `plan` takes, all of this machine. A cluster's run may have no total."""
    return 8 if is_cluster() else workflow.cores


def planned_cores(wildcards, threads):
    """Return the cores of federate, whose clients train at once: a cluster gives what it asks for."""
    if not is_cluster():
        return threads
    return max(
        federation_threads(SimpleNamespace(experiment=name)) for name in CONFIG.run
    )


def cluster_limits(wildcards):
    """Return the memory in MB that jobs get on a cluster, by rule; nothing for this machine."""
    limited = (
        ("federate", "train_baseline", "merge", "evaluate") if is_cluster() else ()
    )
    resources = {
        name: getattr(rules, name).rule.resources["mem_mb"] for name in limited
    }
    return to_canonical_json(
        {name: int(value.value) for name, value in resources.items()}
    )


def federation_nodes(wildcards):
    """Return the number of cluster nodes of an experiment's federation."""
    return getattr(EXPERIMENT_ENGINES[wildcards.experiment], "nodes", 1)


def federation_tasks(wildcards):
    """Return the number of Slurm tasks: one per node, or 0 (unset) where GPUs are requested."""
    return 0 if federation_gpus(wildcards) else federation_nodes(wildcards)


def federation_threads(wildcards):
    """Return the cores of an experiment's federation on a node."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    per_node = math.ceil(clients / federation_nodes(wildcards))
    return chosen.federation.count_threads(per_node)


def baseline_threads(wildcards):
    """Return the cores that training one baseline uses."""
    return CONFIG.experiments[wildcards.experiment].baselines.threads


def federation_gpus(wildcards):
    """Return the number of GPUs that an experiment's federation requests."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return chosen.federation.count_gpus(clients)


def baseline_gpus(wildcards):
    """Return the number of GPUs that one client trains on."""
    return CONFIG.experiments[wildcards.experiment].federation.max_gpus_per_client


def evaluation_gpus(wildcards):
    """Return the number of GPUs that the experiment's evaluation may use."""
    return CONFIG.experiments[wildcards.experiment].evaluation_gpus


def benchmark_gpus(wildcards):
    """Return the number of GPUs that a model's benchmarks may use."""
    return find_benchmark_experiment(wildcards).evaluation_gpus


def federation_image(wildcards):
    """Return the images that a federation needs and that this workflow builds."""
    image = getattr(EXPERIMENT_ENGINES[wildcards.experiment], "image", None)
    return BUILT_IMAGE_INPUT or (BUILT_IMAGE_FILES if image == BUILT_IMAGE else [])


def federation_container(wildcards):
    """Return the image that federate runs in: None where its engine starts containers itself."""
    return (
        None
        if starts_containers(EXPERIMENT_ENGINES[wildcards.experiment])
        else CONTAINER_IMAGE
    )
