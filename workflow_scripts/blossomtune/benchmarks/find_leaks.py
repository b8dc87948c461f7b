"""Find questions of benchmarks in the rows that clients train on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from lm_eval.api.task import Task
from lm_eval.utils import apply_template
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks, LeakedQuestions
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.benchmarks.load_tasks import LoadedBenchmark
from blossomtune.data.leaks.question_overlap import NGRAM_SIZE, THRESHOLD, QuestionOverlap


def find_benchmark_leaks(
    benchmarks: Sequence[LoadedBenchmark], preprocessed: Path, tokenizer: PreTrainedTokenizerBase
) -> BenchmarkLeaks:
    """Find the questions that occur in training rows of any client.

    Args:
        benchmarks: The benchmarks.
        preprocessed: Directory with client_<i>.arrow.
        tokenizer: The tokenizer of the rows.

    Returns:
        The leaked questions of each task, by their position among its rows.
    """
    questions: dict[str, list[str]] = {}
    limits: dict[str, int | None] = {}
    for benchmark in benchmarks:
        for name, task in benchmark.tasks.items():
            questions[name] = [_get_question(task, row) for row in task.eval_docs]
            limits[name] = benchmark.settings["limit"]
    overlaps = {name: QuestionOverlap(texts) for name, texts in questions.items()}
    for texts in _read_training_texts(preprocessed, tokenizer):
        for overlap in overlaps.values():
            overlap.add_texts(texts)
    tasks = {
        name: _select_leaked(overlap.compute_shares()[: limits[name]])
        for name, overlap in overlaps.items()
    }
    return BenchmarkLeaks(ngram_size=NGRAM_SIZE, threshold=THRESHOLD, tasks=tasks)


def describe_leaked_questions(leaks: BenchmarkLeaks) -> str:
    """Return which questions of which tasks leaked: "arc_easy: 3 of 570 (rows 4, 17, 80)"."""
    parts = []
    for name, task in leaks.tasks.items():
        if rows := sorted([*task.exact, *task.near]):
            listed = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
            parts.append(f"{name}: {len(rows)} of {task.questions} (rows {listed})")
    return "; ".join(parts)


def _get_question(task: Task, row: Mapping[str, object]) -> str:
    """Return the text by which a task's row is recognised, as the task defines it."""
    query = task.config.doc_to_decontamination_query  # its method takes a template for a literal
    if callable(query):
        return str(query(row))
    if query:
        return str(row[query] if query in row else apply_template(query, row))
    question = task.doc_to_text(row)
    if isinstance(question, str) and question.strip():
        return question
    choices = task.doc_to_choice(row)  # the question is an option, or there are only options
    return " ".join(map(str, choices))


def _select_leaked(shares: NDArray[np.float64]) -> LeakedQuestions:
    is_exact, is_near = shares == 1, (shares >= THRESHOLD) & (shares < 1)
    return LeakedQuestions(
        questions=len(shares),
        exact=np.flatnonzero(is_exact).tolist(),
        near=np.flatnonzero(is_near).tolist(),
    )


def _read_training_texts(
    preprocessed: Path, tokenizer: PreTrainedTokenizerBase
) -> Iterator[list[str]]:
    """Yield the texts of the rows of all clients, as they are trained on."""
    manifest = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    for client in manifest.clients:
        with pa.memory_map(str(preprocessed / f"client_{client.client}.arrow")) as file:
            for batch in pa.ipc.open_stream(file):
                yield tokenizer.batch_decode(batch.column("input_ids").to_pylist())
