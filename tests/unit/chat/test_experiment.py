import shutil

import pytest
import yaml
from artifact_samples import tokenized_manifest

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.chat.experiment import find_experiment, read_configuration
from blossomtune.errors import UserError


@pytest.fixture
def results(finished_run, tmp_path):
    """Return a copy of the results, to change."""
    return shutil.copytree(finished_run / "results", tmp_path / "results")


def test_only_finished_experiment_is_the_default(configuration, results):
    experiment = find_experiment(configuration, results, None)
    assert experiment.adapter == results / "experiments/first/adapter"
    assert experiment == find_experiment(configuration, results, "first")


def test_several_finished_experiments_are_listed(configuration, results):
    experiments = results / "experiments"
    shutil.copytree(experiments / "first", experiments / "second")
    with pytest.raises(UserError, match=r"first, second[^$]*--experiment first"):
        find_experiment(configuration, results, None)
    find_experiment(configuration, results, "second")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("second", "experiment second is not finished[^$]*make run"),
        ("frist", "'frist' is not an experiment; known: first, second[^$]*did you mean 'first'"),
    ],
)
def test_experiment_that_cannot_be_used_is_an_error(name, message, configuration, results):
    with pytest.raises(UserError, match=message):
        find_experiment(configuration, results, name)


def test_nothing_finished_names_what_to_run(configuration, tmp_path):
    with pytest.raises(UserError, match=r"no experiment is finished[^$]*make run[^$]*--configfile"):
        find_experiment(configuration, tmp_path, None)


def test_damaged_adapter_is_an_error(configuration, results):
    (results / "experiments/first/adapter/adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        find_experiment(configuration, results, "first")


def test_plain_text_has_no_turns_to_chat_in(configuration, results):
    folder = results / "preprocessed/halves/short/tiny"
    shape = RowFormat(name="text", detected=True, columns={"text": "text"}, templates={})
    write_artifact(folder / "manifest.json", tokenized_manifest(shape=shape))
    write_checksums(folder, "preprocess")
    with pytest.raises(UserError, match="learns plain text"):
        find_experiment(configuration, results, "first")


def test_configuration_files_are_overlaid(finished_run, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"preprocessing": {"short": {"system": "Be kind."}}}))
    configuration = read_configuration(finished_run / "config/config.yaml", [overlay])
    block = configuration.preprocessing["short"]
    assert (block.system, block.completion) == ("Be kind.", "{{ label }}")


@pytest.mark.parametrize("content", ["- a", "a: [", None])
def test_file_that_is_no_configuration_is_an_error(content, tmp_path):
    file = tmp_path / "a.yaml"
    if content:
        file.write_text(content)
    with pytest.raises(UserError, match=r"a\.yaml"):
        read_configuration(file, [])
