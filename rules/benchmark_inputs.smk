# Inputs and parameters of the rules in benchmark.smk and collect_metrics.smk.


def write_benchmark_config(experiment):
    """Write the settings of an experiment's benchmarks; return the file, named by a digest."""
    content = stage_inputs.benchmark(CONFIG, experiment)
    return write_stage_config("benchmark", content)


def benchmark_scores(wildcards):
    """Return the scores of an experiment's models: base, federated model, then baselines."""
    name = wildcards.experiment
    if not CONFIG.experiments[name].evaluation.benchmarks:
        return []
    baselines = [f"experiments/{name}/baselines/{b}" for b in list_baselines(name)]
    models = [f"models/{CONFIG.experiments[name].model}", f"experiments/{name}/merged"]
    settings = Path(write_benchmark_config(name)).stem
    return [
        f"results/benchmark_scores/{model}/{settings}.json"
        for model in (*models, *baselines)
    ]


def benchmark_score_arguments(wildcards, input):
    """Return the options of collect_metrics.py that name the models and their scores."""
    if not input.scores:
        return []
    names = ["base", "federated", *list_baselines(wildcards.experiment)]
    return [
        f"--benchmarks {shlex.quote(f'{name}={file}')}"
        for name, file in zip(names, input.scores, strict=True)
    ]


def benchmark_leaks(wildcards):
    """Return the leaked questions of an experiment's benchmarks, if it has benchmarks."""
    if not CONFIG.experiments[wildcards.experiment].evaluation.benchmarks:
        return []
    return f"results/experiments/{wildcards.experiment}/benchmark_leaks.json"


def benchmark_leak_arguments(wildcards, input):
    """Return the option of collect_metrics.py that names the leaked questions."""
    return f"--leaks {shlex.quote(str(input.leaks))}" if input.leaks else ""


def find_benchmark_experiment(wildcards):
    """Return the experiment, or one whose benchmarks have these settings."""
    if hasattr(wildcards, "experiment"):
        return CONFIG.experiments[wildcards.experiment]
    for name, experiment in CONFIG.experiments.items():
        if Path(write_benchmark_config(name)).stem == wildcards.settings:
            return experiment
    raise WorkflowError(
        f"no experiment has benchmarks with settings '{wildcards.settings}'"
    )


def benchmark_config(wildcards):
    """Return the file with the settings of benchmarks."""
    find_benchmark_experiment(wildcards)
    return str(CONFIG_DIR / "benchmark" / f"{wildcards.settings}.json")


def benchmarked_model(wildcards):
    """Return the model, or base and adapter, that is scored, with checksums."""
    section, name, *kind = wildcards.benchmarked.split("/")
    folder = f"results/{wildcards.benchmarked}"
    if section == "models" or kind == ["merged"]:
        return with_checksums(folder)
    base = CONFIG.experiments[name].model
    return with_checksums(f"results/models/{base}", f"{folder}/adapter")


def benchmarked_model_arguments(wildcards, input):
    """Return the options of benchmark.py that name the model and its adapter."""
    folders = input.model[: len(input.model) // 2]
    return [
        f"{option} {shlex.quote(str(folder))}"
        for option, folder in zip(("--model", "--adapter"), folders)
    ]


def list_benchmark_datasets(wildcards):
    """Return the names of the data sets that benchmarks read."""
    blocks = find_benchmark_experiment(wildcards).evaluation.benchmarks
    return sorted({block.dataset for block in blocks if block.dataset})


def benchmark_datasets(wildcards):
    """Return the folders of the data sets that benchmarks read, with checksums."""
    names = list_benchmark_datasets(wildcards)
    return with_checksums(*(f"results/datasets/{name}" for name in names))


def benchmark_dataset_arguments(wildcards, input):
    """Return the options of benchmark.py that name the data sets."""
    names = list_benchmark_datasets(wildcards)
    return [
        f"--dataset {shlex.quote(f'{name}={folder}')}"
        for name, folder in zip(names, input.datasets)
    ]


def benchmark_task_files(wildcards):
    """Return the files of the user's own tasks; a change reruns the benchmarks."""
    files = set()
    for block in find_benchmark_experiment(wildcards).evaluation.benchmarks:
        if block.include_path:
            folder = expand_home(block.include_path)
            if not folder.is_dir():
                raise WorkflowError(
                    f"evaluation.benchmarks: include_path: '{folder}' is no folder"
                )
            files |= {
                str(path)
                for path in folder.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            }
    return sorted(files)


def refused_benchmark_leaks(wildcards):
    """Return the leaks of benchmarks, if training must not start before there are none."""
    if not stage_inputs.has_leak_errors(CONFIG, wildcards.experiment):
        return []
    folder = f"results/experiments/{wildcards.experiment}"
    return ancient(f"{folder}/benchmark_leaks.json")
