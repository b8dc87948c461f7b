"""Write a results directory with generated numbers, to render reports from."""

import json
import math
import re
from html import unescape
from pathlib import Path

import yaml
from artifact_samples import dataset_manifest, partition_manifest, tokenized_manifest

from blossomtune import files
from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.reporting import page

ROOT = Path(__file__).parents[2]
CLIENTS = {
    "amazonReviews": {"negative": 1031, "neutral": 876, "positive": 1712},
    "movieReviews": {"negative": 4301, "neutral": 1405, "positive": 4666},
    "nytEditorials": {"negative": 1897, "neutral": 1822, "positive": 1295},
    "tweets": {"negative": 1098, "neutral": 903, "positive": 2104},
}


def build_interval(value, spread, **more):
    return {"value": value, "low": value - spread, "high": value + spread, **more}


def build_client_metrics(accuracy, loss, spread_factor=1.0):
    """Return metrics by client; clients differ by ``spread_factor``."""
    clients = zip(CLIENTS, (82, 229, 28, 61), (0.04, -0.02, -0.12, 0.05), strict=True)
    return {
        name: {
            "rows": rows,
            "loss": build_interval(loss - spread_factor * offset, 0.1),
            "perplexity": build_interval(math.exp(loss - spread_factor * offset), 0.2),
            "accuracy": build_interval(accuracy + spread_factor * offset, 0.09),
        }
        for name, rows, offset in clients
    }


def build_fairness(clients, measure="accuracy"):
    values = {name: part[measure]["value"] for name, part in clients.items()}
    order = sorted(values, key=lambda n: values[n] * (1 if measure == "accuracy" else -1))
    mean = sum(values.values()) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values.values()) / len(values))
    worst, best = ({"client": n, "value": values[n]} for n in (order[0], order[-1]))
    return {
        "measure": measure,
        "worst": worst,
        "best": best,
        "spread": spread,
        "row_source": "common",
    }


def build_model_metrics(accuracy, loss, spread_factor=1.0):
    gold = {"negative": 160, "neutral": 100, "positive": 140}
    confusion = {
        g: {p: round(n * (accuracy if g == p else (1 - accuracy) / 2)) for p in gold}
        for g, n in gold.items()
    }
    clients = build_client_metrics(accuracy, loss, spread_factor)
    return {
        "rows": 400,
        "loss": build_interval(loss, 0.03),
        "perplexity": build_interval(2.718**loss, 0.06),
        "accuracy": build_interval(accuracy, 0.045),
        "macro_f1": build_interval(accuracy - 0.02, 0.05),
        "answer_metrics": {"exact_match": build_interval(accuracy - 0.3, 0.11, rows=64)},
        "by": clients,
        "by_column": "domain",
        "confusion": confusion,
        "clients": clients,
        "fairness": build_fairness(clients),
    }


def build_metrics(baselines, lower=0.0):
    """Return metrics.json of base, federated model and the configured baselines."""
    metrics = {
        "base": build_model_metrics(0.42, 1.91),
        "federated": build_model_metrics(0.72 - lower, 0.41 + lower),
    }
    metrics |= {"centralised": None, "local": None}
    difference = {
        "base": {"accuracy": build_interval(0.3 - lower, 0.041), "loss": build_interval(-1.5, 0.06)}
    }
    if baselines["centralised"]:
        metrics["centralised"] = build_model_metrics(0.731, 0.39, 0.8)
        difference["centralised"] = {
            "accuracy": build_interval(-0.011 - lower, 0.022),
            "loss": build_interval(0.02, 0.03),
        }
    if baselines["local"]:
        metrics["local"] = build_model_metrics(0.64, 0.57, 1.4) | {
            "models": build_client_metrics(0.64, 0.57, 2.0)
        }
        for row in metrics["local"]["confusion"].values():
            row["neutral"] += 0.25  # means over models are not whole numbers
        difference["local"] = {
            "accuracy": build_interval(0.08 - lower, 0.03),
            "loss": build_interval(-0.16, 0.05),
        }
    metrics |= {"difference": difference, "left_out": 0, "leaked": 0, "without_leaks": None}
    return metrics | {"benchmarks": None}


LAYERS = [
    f"layers.{i}.{kind}"
    for i in range(30)
    for kind in (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    )
]


def build_drift(number, average=0.4, best=0.05):
    """Return the drift by layer; it grows with depth and round."""
    layers = {}
    for place, name in enumerate(LAYERS):
        depth, kind = divmod(place, 7)
        factor = (0.3 + depth / 30) * (0.7 + kind / 12) * (0.6 + 0.1 * number)
        known = None if average is None else round(average * factor, 6)
        layers[name] = {"norm": 1.5, "average": known, "best": round(best * factor, 6)}
    return layers


def build_history(rounds=3, failed=(), block=None):
    """Return history.json of an experiment's block."""
    federation = (block or {}).get("federation", {})
    every, sampled = federation.get("evaluate_every", 1), federation.get("fraction_train", 1.0)
    ranks = (block or {}).get("lora", {}).get("ranks") or [8] * len(CLIENTS)
    private = federation.get("privacy")
    size = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.02}[
        federation.get("communication", {}).get("precision", "float32")
    ]
    records = []
    for number in range(rounds + 1):
        trained = [] if number == 0 else list(enumerate(CLIENTS))
        trained = [c for c in trained if sampled == 1 or (c[0] + number) % 2]
        clients = [
            {
                "client": i,
                "name": name,
                "rank": ranks[i],
                "examples": 80,
                "tokens": 7421 + i,
                "steps": 10,
                "batch_size": 4,
                "train_loss": round((1.02, 0.71, 0.86, 0.55)[i] / (1 + 0.35 * (number - 1)), 4),
                "seconds": 21.5,
                "gpu_memory_mb": None,
                "bytes_down": round(305_887 * size * ranks[i]),
                "bytes_up": round(306_288 * size * ranks[i]),
            }
            for i, name in trained
            if (number, i) not in failed
        ]
        mean = sum(c["train_loss"] for c in clients) / len(clients) if clients else None
        client_evaluation = None
        if number and federation.get("fraction_evaluate"):
            scores = [
                {"client": i, "name": n, "rows": 32, "loss": 0.9 / number + abs(number - 3) / 20}
                | {"bytes_down": 1_000_000, "bytes_up": 500}
                for i, n in enumerate(CLIENTS)
            ]
            client_evaluation = {"loss": scores[0]["loss"], "clients": scores, "failed": []}
        is_evaluated = number % every == 0 or number == rounds
        norm = {"clipping_norm": 0.1 * 1.1**number, "noise_deviation": 0.1}
        records.append(
            {
                "round": number,
                "learning_rate": (None, 5e-4, 2.75e-4, 5e-5)[number % 4],
                "train_loss": mean,
                "evaluation": {"loss": 2.31 / (1 + 1.6 * number), "perplexity": 2.0, "rows": 64}
                if is_evaluated
                else None,
                "client_evaluation": client_evaluation,
                "clients": clients,
                "rejection": None,
                "failed": [
                    {"client": i, "name": list(CLIENTS)[i], "reason": "OutOfMemoryError: <no room>"}
                    | {"bytes_down": 9_788_392, "bytes_up": 0}
                    for r, i in failed
                    if r == number
                ],
                "tokens": 29684,
                "bytes_down": sum(c["bytes_down"] for c in clients),
                "bytes_up": sum(c["bytes_up"] for c in clients),
                "seconds": 4.2 if number == 0 else 61.3,
                "drift": build_drift(number, None if len(set(ranks)) > 1 else 0.4)
                if number
                else None,
                "privacy": {"epsilon": 1.801 * number, "delta": private["delta"], **norm}
                if private and number
                else None,
                "absent": [],
                "gpus": [],
            }
        )
    guarantee = (
        {
            "epsilon": 1.801 * rounds,
            **{k: private[k] for k in ("delta", "noise_multiplier", "clipping", "side")},
        }
        if private
        else None
    )
    return {
        "clients": list(CLIENTS),
        "device": "cpu",
        "base_dtype": "float32",
        "strategy": federation.get("strategy", {"name": "fedavg"})["name"],
        "aggregation": federation.get("aggregation", "fedavg"),
        "precision": federation.get("communication", {}).get("precision", "float32"),
        "ranks": ranks,
        "stop_reason": None,
        "best_round": rounds,
        "result_round": rounds,
        "privacy": guarantee,
        "rounds": records,
    }


def build_configuration(**blocks):
    """Return the default with three rounds and more keys in the experiment's blocks."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiment = raw["experiments"]["quickstart"]
    experiment["federation"]["rounds"] = 3
    experiment["training"]["optimizer_state"] = "fresh"  # works with every aggregation
    for name, block in blocks.items():
        experiment[name] = experiment.get(name, {}) | block
    return raw


def write_results(results, raw, *, failed=(), rename=None):
    """Write a results directory for a configuration; return the validated configuration."""
    configuration = load_configuration(raw)
    used = stage_inputs.report(configuration)["configuration"]

    def write(name, value):
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value)
        for old, new in (rename or {}).items():
            text = text.replace(json.dumps(old), json.dumps(new))
        path.write_text(text, encoding="utf-8")

    origin = {"revision": "3.3.2", "licence": "MIT"}
    for name, block in used["models"].items():
        write(
            f"models/{name}/provenance.json",
            {"source": block["source"], "revision": "0.1.2", "licence": "Apache-2.0"}
            | {"parameters": 134515008, "files": {}},
        )
    for name, block in used["datasets"].items():
        counts = {"read": 23703, "skipped": 0, "filtered": 0, "duplicates": 193, "limited": 0}
        counts |= {"train": 23110, "test": 400}
        manifest = origin | {"source": block["source"], "rows": counts, "columns": []}
        manifest |= {"stratify_by": "label", "seed": 42, "files": {}}
        write(f"datasets/{name}/manifest.json", dataset_manifest().model_dump() | manifest)
    for name in used["partitions"]:
        clients = [
            {"client": i, "name": n, "rows": sum(labels.values()), "labels": labels}
            | {"validation": 0, "test": 0, "tokens": 9, "distance": i / 10}
            | {"sha256": "", "files": {}}
            for i, (n, labels) in enumerate(CLIENTS.items())
        ]
        labels = {label: sum(c[label] for c in CLIENTS.values()) for label in CLIENTS["tweets"]}
        write(
            f"partitions/{name}/manifest.json",
            partition_manifest().model_dump()
            | {"partitioner": "natural_id", "column": "domain", "label_column": "label", "seed": 42}
            | {"labels": labels, "clients": clients, "dataset": origin | {"source": {}}},
        )
    for number, (name, e) in enumerate(used["experiments"].items()):
        folder = f"{e['partition']}/{e['preprocessing']}/{e['model']}"
        counts = [
            {"client": i, "rows": 4000, "dropped": {"too_long": i, "unrenderable": 0}}
            | {"truncated": 0, "packed": None, "tokens": 371_204, "longest": 201}
            | {"completion_tokens": 8000, "sha256": ""}
            for i in range(4)
        ]
        block = used["preprocessing"][e["preprocessing"]]
        templates = {k: block[k] for k in ("prompt", "completion")}
        shape = {"name": "prompt_completion", "detected": False, "columns": {}}
        write(
            f"preprocessed/{folder}/manifest.json",
            tokenized_manifest().model_dump()
            | {"shape": shape | {"templates": templates}, "clients": counts, "max_length": 256}
            | {"test": None},
        )
        history = build_history(e["federation"]["rounds"], failed, e)
        write(f"experiments/{name}/history.json", history)
        write(f"experiments/{name}/metrics.json", build_metrics(e["baselines"], number / 50))
        (results / f"experiments/{name}/answers.jsonl").touch()
        write(
            f"experiments/{name}/merged/merge.json",
            {"largest_logit_difference": 1.9e-5, "prompts": 8}
            | {"tolerance": 1e-3, "precision": "float32"},
        )
        adapter = results / f"experiments/{name}/adapter/adapter_model.safetensors"
        lora = {"r": e["lora"]["r"], "lora_alpha": 16, "lora_dropout": 0.0}
        lora |= {"use_rslora": False, "target_modules": ["q_proj"]}
        write(f"experiments/{name}/adapter/adapter_config.json", lora)
        adapter.write_bytes(b"adapter")
        seconds = {f"preprocess/{folder}": 9.4}
        seconds |= {f"fetch_model/{e['model']}": 41.2, f"federate/{name}": 203.5}
        seconds |= {f"merge/{name}": 11.0, f"evaluate/{name}": 97.8, "federate/other-run": 5e5}
        seconds |= {f"control/{name}/{c}": 60.5 for c in ("centralised", "local_0", "local_3")}
        for job, s in seconds.items():
            path = results / f"benchmarks/{job}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\tmax_rss\n{s}\t0:00:00\t{s * 10:.2f}\n", encoding="utf-8")
    return configuration


def render_report(configuration, results):
    """Write the report and return its HTML."""
    page.write_report(stage_inputs.report(configuration), results, results / "report")
    return (results / "report/index.html").read_text(encoding="utf-8")


def get_visible_text(html):
    """Return the visible text with normalized spaces."""
    text = unescape(re.sub(r"<[^<>]*>", "", re.sub(r"(?s)<style>.*?</style>", "", html)))
    return re.sub(r"\s+", " ", text)


def update_manifest(results, pattern, update):
    """Rewrite one manifest."""
    [path] = results.glob(pattern)
    manifest = files.read_json(path)
    update(manifest)
    files.write_json(path, manifest)
