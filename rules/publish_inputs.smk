# Inputs and parameters of the rules publish and publish_dry_run.


def list_published():
    """Return the experiments of this run that have a repository."""
    return [name for name in CONFIG.run if CONFIG.experiments[name].publish]


def publish_config(wildcards):
    """Return the file with what is published where, by experiment."""
    settings = {name: stage_inputs.publish(CONFIG, name) for name in list_published()}
    return write_stage_config("publish", settings)


def published_results(wildcards):
    """Return the folders, with their checksums, that are published or that a model card shows."""
    folders = []
    for name in list_published():
        what = CONFIG.experiments[name].publish.what
        results = [f"results/experiments/{name}/{part}" for part in ("adapter", what)]
        blocks = experiment_blocks(name)
        folders += [*results, *(pattern.format(**blocks) for pattern in CARD_INPUTS)]
    return with_checksums(*dict.fromkeys(folders))


def published_histories(wildcards):
    """Return the histories that model cards show."""
    return [f"results/experiments/{name}/history.json" for name in list_published()]


def published_folder(wildcards, input):
    """Return the results folder of publishing, which has no output."""
    return str(Path(input.history[0]).parents[2]) if input.history else "results"
