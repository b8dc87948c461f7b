"""Questions of benchmarks that occur in training rows."""

from blossomtune.artifacts.base import Artifact, Part


class LeakedQuestions(Part):
    """Questions of one task that occur in training rows of any client.

    Attributes:
        questions: number of questions that were compared.
        exact: indices of the questions all of whose word sequences occur.
        near: indices of other questions most of whose word sequences occur.
    """

    questions: int
    exact: list[int]
    near: list[int]


class BenchmarkLeaks(Artifact):
    """Comparison of benchmarks with all training rows that are here: ``benchmark_leaks.json``.

    Attributes:
        ngram_size: words per sequence by which questions are looked for.
        threshold: share of a question's sequences from which on it counts as occurring.
        tasks: leaked questions by name of the task.
    """

    ngram_size: int
    threshold: float
    tasks: dict[str, LeakedQuestions]
