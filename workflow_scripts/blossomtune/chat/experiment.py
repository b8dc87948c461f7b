"""Find a finished experiment and the files to chat with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blossomtune.artifacts.checksums import get_checksums_path, verify_outputs
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.config.configuration import Configuration
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.load import load_configuration
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.errors import UserError, find_closest_match

_RUN_HINT = (
    "`make run` builds the experiments of `run`; --configfile FILE names another configuration, "
    "as for `make run`"
)


@dataclass(frozen=True)
class FinishedExperiment:
    """Settings and folders of an experiment whose training is finished.

    Attributes:
        settings: Block of the experiment.
        preprocessing: Block of its preprocessing.
        model: Directory of the base model.
        adapter: PEFT directory of the federated adapter.
        manifest: Manifest of the tokenized rows.
    """

    settings: ExperimentSettings
    preprocessing: PreprocessingSettings
    model: Path
    adapter: Path
    manifest: TokenizedManifest


def read_configuration(default: Path, overlays: Sequence[Path]) -> Configuration:
    """Read configuration files and overlay them as Snakemake does.

    Args:
        default: The first file.
        overlays: Files with keys that replace those of the files before.

    Returns:
        The configuration.

    Raises:
        UserError: If a file cannot be read, or the configuration is not valid.
    """
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import update_config

    whole: dict[str, object] = {}
    for path in (default, *overlays):
        try:
            update_config(whole, load_configfile(path))
        except (WorkflowError, OSError) as error:
            raise UserError(f"{path}: {error}") from None
    return load_configuration(whole)


def find_experiment(
    configuration: Configuration, results: Path, name: str | None
) -> FinishedExperiment:
    """Find an experiment and verify its files.

    Args:
        configuration: The whole configuration.
        results: Folder of all results.
        name: Name of the experiment; None for the only finished one.

    Returns:
        Settings and folders.

    Raises:
        UserError: If it does not exist, is not finished, or learns plain text.
    """
    name = name or _select_only(configuration, results)
    if name not in configuration.experiments:
        known = list(configuration.experiments)
        near = find_closest_match(name, known)
        raise UserError(
            f"--experiment: {name!r} is not an experiment; known: {', '.join(known)}",
            f"did you mean {near!r}?" if near else _RUN_HINT,
        )
    if not _is_finished(results, name):
        raise UserError(f"experiment {name} is not finished in {results}", _RUN_HINT)
    settings = configuration.experiments[name]
    blocks = (settings.partition, settings.preprocessing, settings.model)
    model, adapter = results / "models" / settings.model, _get_adapter(results, name)
    preprocessed = results.joinpath("preprocessed", *blocks)
    verify_outputs(adapter)
    verify_outputs(model, preprocessed, metadata_only=True)
    manifest = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    if manifest.shape.name == "text":
        raise UserError(
            f"experiment {name} learns plain text, which has no turns to chat in",
            "the merged model continues texts with any program for language models",
        )
    preprocessing = configuration.preprocessing[settings.preprocessing]
    return FinishedExperiment(settings, preprocessing, model, adapter, manifest)


def _select_only(configuration: Configuration, results: Path) -> str:
    """Return the only finished experiment."""
    finished = [name for name in configuration.experiments if _is_finished(results, name)]
    if not finished:
        names = ", ".join(configuration.experiments)
        raise UserError(f"no experiment is finished in {results}; known: {names}", _RUN_HINT)
    if len(finished) > 1:
        raise UserError(
            f"several experiments are finished: {', '.join(finished)}",
            f'name one: make chat ARGS="--experiment {finished[0]}"',
        )
    return finished[0]


def _is_finished(results: Path, name: str) -> bool:
    return get_checksums_path(_get_adapter(results, name)).is_file()


def _get_adapter(results: Path, name: str) -> Path:
    return results / "experiments" / name / "adapter"
