"""Compare the federated model's answers with those of each other model by a judge model."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.artifacts.answers import AnswerRecord
from blossomtune.artifacts.judge import JudgeResults
from blossomtune.errors import UserError
from blossomtune.files import compute_json_sha256, read_json, write_json
from blossomtune.judging.client import ChatClient
from blossomtune.judging.prompt import build_request, read_verdict
from blossomtune.judging.verdicts import Verdict, VerdictPair, summarize_verdicts
from blossomtune.seeds import derive_seed

logger = logging.getLogger(__name__)

_FEDERATED = "federated"
_LOG_EVERY = 10

Body = dict[str, Any]


def compare_answers(
    records: Sequence[AnswerRecord], settings: Mapping[str, Any], cache: Path
) -> JudgeResults:
    """Compare generated answers in both orders. Equal answers are a tie without a request.

    Args:
        records: Answers of all models, one record per held-out row.
        settings: The stage's settings ``judge``, ``bootstrap`` and ``seed``.
        cache: Folder with a file per answered request. What is there is not requested again.

    Returns:
        Wins, losses and ties against each other model.

    Raises:
        UserError: If there are no answers, or the endpoint does not answer.
    """
    if not records:
        raise UserError(
            "evaluation.judge: there are no generated answers to compare",
            "plain text has no prompts to answer; leave evaluation.judge out",
        )
    judge, seed = settings["judge"], settings["seed"]
    sample = _sample_records(records, judge["rows"], seed)
    others = [name for name in records[0].answers if name != _FEDERATED]

    def build_pair(record: AnswerRecord, other: str) -> tuple[Body, Body] | None:
        """Return the requests of both orders, or None for equal answers."""
        a, b = (record.answers[name].text.strip() for name in (_FEDERATED, other))
        if a == b:
            return None
        first, second = (
            build_request(record.prompt, record.references, pair, judge, seed)
            for pair in ((a, b), (b, a))
        )
        return first, second

    pairs = {other: [build_pair(record, other) for record in sample] for other in others}
    bodies = [body for requests in pairs.values() for pair in requests for body in pair or ()]
    verdicts = _request_verdicts(bodies, judge, cache)

    def get_verdict(body: Body) -> Verdict | None:
        return verdicts[_compute_cache_key(body, judge)]

    tie = VerdictPair("tie", "tie")
    return JudgeResults(
        model=judge["model"],
        pairs={
            other: summarize_verdicts(
                [VerdictPair(*map(get_verdict, pair)) if pair else tie for pair in requests],
                settings,
            )
            for other, requests in pairs.items()
        },
    )


def _sample_records(
    records: Sequence[AnswerRecord], max_rows: int, seed: int
) -> list[AnswerRecord]:
    """Draw rows, the same for all pairs of models, in their order."""
    random = np.random.default_rng(derive_seed(seed, "judged rows"))
    positions = random.permutation(len(records))[:max_rows]
    return [records[int(i)] for i in np.sort(positions)]


def _compute_cache_key(body: Body, judge: Mapping[str, Any]) -> str:
    return compute_json_sha256([judge["base_url"], body])


def _request_verdicts(
    bodies: Sequence[Body], judge: Mapping[str, Any], cache: Path
) -> dict[str, Verdict | None]:
    """Return the verdict of each request, by its key in the cache."""
    requests = {_compute_cache_key(body, judge): body for body in bodies}
    choices = {key: _read_choice(cache / f"{key}.json") for key in requests}
    missing = [key for key, choice in choices.items() if choice is None]
    logger.info("%d requests, %d answered before", len(requests), len(requests) - len(missing))
    with ChatClient(judge) as client, ThreadPoolExecutor(judge["parallel_requests"]) as executor:

        def request(key: str) -> str:
            choices[key] = client.complete(requests[key])
            write_json(cache / f"{key}.json", {"request": requests[key], "choice": choices[key]})
            return key

        try:
            futures = [executor.submit(request, key) for key in missing]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if done % _LOG_EVERY == 0 or done == len(futures):
                    logger.info("%d of %d requests answered", done, len(futures))
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: read_verdict(choice) for key, choice in choices.items() if choice is not None}


def _read_choice(path: Path) -> dict[str, Any] | None:
    """Return the stored reply to a request, or None; a damaged file counts as none."""
    try:
        choice: dict[str, Any] = read_json(path)["choice"]
        return choice if choice.keys() == {"text", "finish_reason"} else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
