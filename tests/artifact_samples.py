"""Small valid artifacts; keyword arguments replace their fields."""

from datetime import UTC, datetime

from blossomtune.artifacts.answers import Answer, AnswerRecord
from blossomtune.artifacts.audit_events import RunStarted
from blossomtune.artifacts.audit_log import AuditEntry
from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks, LeakedQuestions
from blossomtune.artifacts.benchmarks import BenchmarkResults, BenchmarkScore, BenchmarkTask
from blossomtune.artifacts.dataset_manifest import DatasetManifest, RowCounts
from blossomtune.artifacts.history import History
from blossomtune.artifacts.judge import JudgedPair, JudgeResults
from blossomtune.artifacts.leaks import Leaks
from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.artifacts.partition_manifest import ClientPartition, PartitionManifest
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.round_record import ClientTrainRecord, RoundRecord, ServerEvaluation
from blossomtune.artifacts.tokenized_manifest import (
    ChatTemplateUse,
    ClientTokenCounts,
    ColumnUse,
    RowFormat,
    TokenCounts,
    TokenizedManifest,
)

_ORIGIN = {"source": {"kind": "path"}, "revision": None, "licence": None}


def provenance(**fields):
    return Provenance(**_ORIGIN | {"parameters": 1, "files": {}} | fields)


def dataset_manifest(**fields):
    rows = RowCounts(**dict.fromkeys(RowCounts.model_fields, 0))
    defaults = {
        "columns": [],
        "stratify_by": None,
        "class_labels": [],
        "rows": rows,
        "seed": 0,
        "readings": [],
        "files": {},
    }
    return DatasetManifest(**_ORIGIN | defaults | fields)


def client_partition(client, **fields):
    return ClientPartition(**{"client": client, "name": str(client), "files": {}} | fields)


def partition_manifest(clients=(), **fields):
    """Return a manifest; ``clients`` are names, or fields of each client."""
    parts = [c if isinstance(c, dict) else {"name": c, "rows": 1} for c in clients]
    defaults = {"partitioner": "iid", "column": None, "label_column": None, "seed": 0}
    defaults |= {"dataset": _ORIGIN, "class_labels": [], "labels": None}
    defaults["clients"] = [client_partition(i, **part) for i, part in enumerate(parts)]
    return PartitionManifest(**defaults | fields)


def token_counts(rows=1, **fields):
    defaults = {"rows": rows, "dropped": {"unrenderable": 0, "too_long": 0}, "truncated": 0}
    defaults |= {"packed": None, "tokens": rows, "completion_tokens": rows, "longest": 1}
    return TokenCounts(**defaults | {"sha256": "0"} | fields)


def client_token_counts(client, rows=1, **fields):
    return ClientTokenCounts(client=client, **dict(token_counts(rows, **fields)))


def column_use(**fields):
    return ColumnUse(**{key: [] for key in ColumnUse.model_fields} | fields)


def chat_template_use(**fields):
    defaults = {"arguments": {}, "control_tokens": "error", "answer_prefix": "", "warnings": []}
    defaults |= {"unseen_prompt_end": "", "end_of_turn": "<|im_end|>"}
    return ChatTemplateUse(**defaults | fields)


def leaks(test_rows=(), **fields):
    test = {"client": None, "split": "test", "exact": list(test_rows), "near": []}
    defaults = {"shingle_size": 5, "threshold": 0.8, "clients": [], "held_out": [test]}
    return Leaks(**defaults | fields)


def tokenized_manifest(clients=(), **fields):
    shape = RowFormat(name="text", detected=False, columns={}, templates={})
    defaults = {"shape": shape, "max_length": 128, "packing": False, "held_out": []}
    defaults |= {"column_use": column_use(), "chat_template": chat_template_use()}
    defaults |= {"clients": clients, "test": token_counts(), "leaks": leaks()}
    return TokenizedManifest(**defaults | fields)


def client_train_record(client, **fields):
    counts = ("rank", "examples", "tokens", "steps", "batch_size", "bytes_down", "bytes_up")
    defaults = {"client": client, "name": str(client), **dict.fromkeys(counts, 1)}
    defaults |= {"train_loss": 1.0, "seconds": 1.0, "gpu_memory_mb": None}
    return ClientTrainRecord(**defaults | fields)


def server_evaluation(loss, **fields):
    return ServerEvaluation(**{"loss": loss, "perplexity": 2.0, "rows": 8} | fields)


def round_record(number, **fields):
    defaults = {"round": number, "tokens": 0, "bytes_down": 0, "bytes_up": 0, "seconds": 0.0}
    empty = ("learning_rate", "train_loss", "evaluation", "client_evaluation", "drift", "privacy")
    empty += ("rejection",)
    defaults |= {**dict.fromkeys(empty), "clients": [], "failed": [], "absent": [], "gpus": []}
    return RoundRecord(**defaults | fields)


def federation_history(**fields):
    defaults = {"clients": ["a"], "ranks": [1], "device": "cpu", "base_dtype": "float32"}
    defaults |= {
        "strategy": "fedavg",
        "aggregation": "fedavg",
        "precision": "float32",
        "stop_reason": None,
    }
    defaults |= {"best_round": None, "result_round": 1, "privacy": None}
    return History(**defaults | {"rounds": [round_record(0), round_record(1)]} | fields)


def audit_entry(event=None, **fields):
    defaults = {"time": datetime(2026, 1, 1, tzinfo=UTC), "sha256": "0" * 64}
    event = event or RunStarted(run="0123456789abcdef", round=0)
    return AuditEntry(**defaults | {"event": event} | fields)


def answer_record(row=0, text="yes", **fields):
    answers = {name: Answer(text=text, scores={"exact_match": 1}) for name in ("base", "federated")}
    defaults = {"row": row, "prompt": "Is it?", "references": ["yes"], "answers": answers}
    return AnswerRecord(**defaults | fields)


def benchmark_score(value=0.5, standard_error=0.1):
    return BenchmarkScore(value=value, standard_error=standard_error)


def benchmark_task(values=None, **fields):
    """Return a task; ``values`` has the accuracy by model."""
    values = values or {"base": 0.4, "federated": 0.5}
    scores = {model: {"acc": benchmark_score(value)} for model, value in values.items()}
    differences = {m: values["federated"] - v for m, v in values.items() if m != "federated"}
    defaults = {"version": "1.0", "group": None, "subtasks": [], "num_fewshot": 0, "limit": None}
    defaults |= {"rows": 100, "chat_template": False, "main_metric": "acc"}
    defaults |= {"higher_is_better": {"acc": True}, "scores": scores}
    defaults |= {"leaked": 0, "without_leaks": None}
    defaults["difference"] = {m: {"acc": benchmark_score(d)} for m, d in differences.items()}
    return BenchmarkTask(**defaults | fields)


def benchmark_results(tasks=None):
    return BenchmarkResults(lm_eval="0.4.13", tasks=tasks or {"arc_easy": benchmark_task()})


def benchmark_leaks(**tasks):
    """Return leaks; each keyword is a task with number of questions, exact and near rows."""
    named = {
        name: LeakedQuestions(questions=questions, exact=exact, near=near)
        for name, (questions, exact, near) in tasks.items()
    }
    return BenchmarkLeaks(ngram_size=8, threshold=0.7, tasks=named)


def judged_pair(wins=3, losses=1, ties=2, **fields):
    rows, rate = wins + losses + ties, (wins + ties / 2) / (wins + losses + ties)
    defaults = {"rows": rows, "wins": wins, "losses": losses, "ties": ties}
    defaults |= {"inconsistent": 0, "unreadable": 0}
    defaults["win_rate"] = ConfidenceInterval(value=rate, low=rate - 0.1, high=rate + 0.1)
    return JudgedPair(**defaults | fields)


def judge_results(**fields):
    return JudgeResults(**{"model": "judge-1", "pairs": {"base": judged_pair()}} | fields)
