"""Tests of leaks between held-out and training rows, from rows to the manifest."""

import pyarrow as pa
import pytest
from artifact_samples import partition_manifest
from random_texts import change_word, draw_texts

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.sources.file_formats import write_parquet
from blossomtune.data.tokenization import build_tokenized
from blossomtune.errors import UserError

TEXTS = draw_texts(40, seed=8)
TEST, VALIDATION, ONE, OTHER = TEXTS[:10], TEXTS[10:15], TEXTS[15:30], TEXTS[30:]


def write_rows(texts, path):
    rows = [
        {"text": text, "label": "good" if len(text.split()[0]) % 2 else "bad"} for text in texts
    ]
    table = pa.Table.from_pylist(rows)
    write_parquet(table.to_batches(), table.schema, path)


def build(folder, model, one, other, cores=1, **settings):
    """Tokenize rows of two clients, test rows, and validation rows of the second client."""
    partition, out = folder / "partition", folder / "out"
    partition.mkdir(parents=True)
    out.mkdir()
    write_artifact(partition / "manifest.json", partition_manifest(["a", "b"]))
    write_rows(one, partition / "client_0.parquet")
    write_rows(other, partition / "client_1.parquet")
    write_rows(VALIDATION, partition / "client_1.validation.parquet")
    write_rows(TEST, partition / "test.parquet")
    block = {"prompt": "Grade this text: {{ text }}", "completion": "{{ label }}"} | settings
    config = PreprocessingSettings.model_validate(block).model_dump(mode="json")
    return build_tokenized.tokenize_partition(config, model, partition, partition, out, cores)


def shout(text):
    return f"  {text.upper().replace(' ', '  ')}"


def test_known_duplicates_are_counted(tiny_model, tmp_path):
    one = [*ONE, shout(TEST[3]), change_word(TEST[4], 1), ONE[0], VALIDATION[2]]
    other = [*OTHER, TEST[3] + " ", change_word(ONE[1], 2)]
    manifest = build(tmp_path, tiny_model, one, other)
    first, second = manifest.leaks.clients
    assert (first.held_out.exact, first.held_out.near) == (2, 1)
    assert (second.held_out.exact, second.held_out.near) == (1, 0)
    assert (first.own.exact, first.own.near) == (1, 0)
    assert (first.other_clients.exact, first.other_clients.near) == (1, 1)
    assert (second.other_clients.exact, second.other_clients.near) == (1, 1)
    validation, test = manifest.leaks.held_out
    assert (test.client, test.split, test.exact, test.near) == (None, "test", [3], [4])
    assert (validation.client, validation.split, validation.exact) == (1, "validation", [2])
    assert manifest.leaks.test_rows == [3, 4]
    assert [client.rows for client in manifest.clients] == [len(one), len(other)]


def test_dropped_rows_leave_no_leaks(tiny_model, tmp_path):
    one, other = [*ONE, shout(TEST[3]), change_word(TEST[4], 1)], [*OTHER, VALIDATION[2]]
    manifest = build(tmp_path, tiny_model, one, other, leaks="drop")
    assert [client.held_out.total for client in manifest.leaks.clients] == [0, 0]
    assert all(file.exact == file.near == [] for file in manifest.leaks.held_out)
    assert [client.dropped["leaks"] for client in manifest.clients] == [2, 1]
    assert [client.rows for client in manifest.clients] == [len(ONE), len(OTHER)]
    assert manifest.test.rows == len(TEST)


def test_leaks_can_be_refused_with_their_rows(tiny_model, tmp_path):
    one = [*ONE, shout(TEST[3]), change_word(TEST[4], 1)]
    with pytest.raises(UserError) as error:
        build(tmp_path, tiny_model, one, OTHER, leaks="error")
    message = str(error.value)
    assert message.startswith("client_0.parquet: 2 of 17 rows cannot be used\n")
    assert "row 15: the same or nearly the same as row 3 of test.parquet" in message
    assert "row 16: the same or nearly the same as row 4 of test.parquet" in message
    assert "leaks: drop" in message


@pytest.mark.parametrize("leaks", ["drop", "error"])
def test_rows_without_leaks_are_the_same_in_every_mode(tiny_model, tmp_path, leaks):
    reported = build(tmp_path / "report", tiny_model, ONE, OTHER)
    manifest = build(tmp_path / "other", tiny_model, ONE, OTHER, leaks=leaks)
    assert manifest == reported


def test_rows_that_are_not_trained_on_do_not_leak(tiny_model, tmp_path):
    long = [f"{text} {'very ' * 100}long" for text in TEST[:2]]
    one, other = [*ONE, *long], [*OTHER, *long]
    manifest = build(tmp_path, tiny_model, one, other, max_length=300, too_long="drop")
    assert manifest.clients[0].dropped["too_long"] == 2
    assert manifest.clients[0].rows == len(ONE)
    assert [client.other_clients.total for client in manifest.leaks.clients] == [0, 0]


def test_cores_do_not_change_the_manifest(tiny_model, tmp_path):
    one = [*ONE, shout(TEST[3]), change_word(TEST[4], 1)]
    manifests = [
        build(tmp_path / str(cores), tiny_model, one, OTHER, cores, leaks="drop")
        for cores in (1, 2)
    ]
    assert manifests[0] == manifests[1]
    names = [sorted(f.name for f in (tmp_path / c / "out").iterdir()) for c in ("1", "2")]
    assert names[0] == names[1]
    assert names[0] == [
        *("client_0.arrow", "client_1.arrow", "client_1.validation.arrow"),
        *("manifest.json", "test.arrow"),
    ]


def test_system_turns_do_not_make_rows_alike(tiny_model, tmp_path):
    system = "You are a strict but fair judge of short texts, who answers in one word. " * 3
    manifest = build(tmp_path, tiny_model, ONE[:5], OTHER[:5], system=system)
    assert [c.other_clients.total + c.own.total for c in manifest.leaks.clients] == [0, 0]
    repeated = build(tmp_path / "2", tiny_model, ONE[:5], ONE[:5], system="{{ text[:3] }}")
    assert [client.other_clients.exact for client in repeated.leaks.clients] == [5, 5]
