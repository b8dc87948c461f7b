"""Tests of the search for benchmark questions in training rows."""

import pyarrow as pa
import pytest
from artifact_samples import client_token_counts, tokenized_manifest

from blossomtune.artifacts.files import write_artifact
from blossomtune.benchmarks.find_leaks import describe_leaked_questions, find_benchmark_leaks
from blossomtune.benchmarks.load_tasks import load_benchmarks
from blossomtune.config.benchmarks import BenchmarkSettings
from blossomtune.modeling.tokenizer import load_tokenizer

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"


@pytest.fixture
def find_leaks(tiny_model, task_folder, tmp_path):
    """Return a function from the training texts of each client to the leaks of two tasks."""
    tokenizer = load_tokenizer(tiny_model)
    blocks = [{"task": "choose", "limit": 4}, {"task": "write"}]
    settings = [
        BenchmarkSettings(include_path=task_folder, **block).model_dump(mode="json")
        for block in blocks
    ]

    def find(*clients):
        (tmp_path / "scratch").mkdir()
        _, benchmarks = load_benchmarks(settings, {}, tmp_path / "scratch")
        for client, texts in enumerate(clients):
            table = pa.table({"input_ids": [tokenizer.encode(text) for text in texts]})
            with pa.ipc.new_stream(tmp_path / f"client_{client}.arrow", table.schema) as stream:
                stream.write_table(table, max_chunksize=1)
        counts = [client_token_counts(client) for client in range(len(clients))]
        write_artifact(tmp_path / "manifest.json", tokenized_manifest(counts))
        return find_benchmark_leaks(benchmarks, tmp_path, tokenizer)

    return find


def test_questions_are_found_in_the_rows_of_all_clients(find_leaks):
    first = [CHAT.format("Question: 3 + 3\nAnswer:", "6"), CHAT.format("Who are you?", "I am.")]
    second = ["3 + 4", CHAT.format("question, 1 + 1: answer", "2"), "Question: 6 + 6 Answer: 12"]
    leaks = find_leaks(first, second)
    choose, write = leaks.tasks["choose"], leaks.tasks["write"]
    assert (choose.questions, choose.exact, choose.near) == (4, [1, 3], [])  # 6 is over the limit
    assert (write.questions, write.exact) == (7, [1, 3, 6])
    expected = "choose: 2 of 4 (rows 1, 3); write: 3 of 7 (rows 1, 3, 6)"
    assert describe_leaked_questions(leaks) == expected


def test_without_local_clients_nothing_leaks(find_leaks):
    leaks = find_leaks()
    assert describe_leaked_questions(leaks) == ""
    assert leaks.tasks["write"].questions == 7
