"""A small results directory that follows the real one's schema, to make reports from."""

import json
import math
import re
from html import unescape
from pathlib import Path

import yaml

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


def interval(value, spread, **more):
    return {"value": value, "low": value - spread, "high": value + spread, **more}


def of_clients(accuracy, loss, apart=1.0):
    """Metrics by client: (name, rows, how far from the mean)."""
    told = zip(CLIENTS, (82, 229, 28, 61), (0.04, -0.02, -0.12, 0.05), strict=True)
    return {
        name: {
            "rows": rows,
            "loss": interval(loss - apart * d, 0.1),
            "perplexity": interval(math.exp(loss - apart * d), 0.2),
            "accuracy": interval(accuracy + apart * d, 0.09),
        }
        for name, rows, d in told
    }


def fairness(clients, measure="accuracy"):
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


def metrics(accuracy, loss, apart=1.0):
    gold = {"negative": 160, "neutral": 100, "positive": 140}
    confusion = {
        g: {p: round(n * (accuracy if g == p else (1 - accuracy) / 2)) for p in gold}
        for g, n in gold.items()
    }
    clients = of_clients(accuracy, loss, apart)
    return {
        "rows": 400,
        "loss": interval(loss, 0.03),
        "perplexity": interval(2.718**loss, 0.06),
        "accuracy": interval(accuracy, 0.045),
        "macro_f1": interval(accuracy - 0.02, 0.05),
        "exact_match": interval(accuracy - 0.3, 0.11, rows=64),
        "by": clients,
        "by_column": "domain",
        "confusion": confusion,
        "clients": clients,
        "fairness": fairness(clients),
    }


def all_metrics(baselines, lower=0.0):
    """metrics.json: base, federated and those baselines that are asked for."""
    told = {"base": metrics(0.42, 1.91), "federated": metrics(0.72 - lower, 0.41 + lower)}
    told |= {"centralised": None, "local": None}
    difference = {"base": {"accuracy": interval(0.3 - lower, 0.041), "loss": interval(-1.5, 0.06)}}
    if baselines["centralised"]:
        told["centralised"] = metrics(0.731, 0.39, 0.8)
        difference["centralised"] = {
            "accuracy": interval(-0.011 - lower, 0.022),
            "loss": interval(0.02, 0.03),
        }
    if baselines["local"]:
        told["local"] = metrics(0.64, 0.57, 1.4) | {"models": of_clients(0.64, 0.57, 2.0)}
        for row in told["local"]["confusion"].values():
            row["neutral"] += 0.25  # means over models are no whole numbers
        difference["local"] = {
            "accuracy": interval(0.08 - lower, 0.03),
            "loss": interval(-0.16, 0.05),
        }
    return told | {"difference": difference, "left_out": 0}


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


def drift(number, average=0.4, best=0.05):
    """By layer; deeper layers and later rounds lose more."""
    found = {}
    for place, name in enumerate(LAYERS):
        depth, kind = divmod(place, 7)
        factor = (0.3 + depth / 30) * (0.7 + kind / 12) * (0.6 + 0.1 * number)
        known = None if average is None else round(average * factor, 6)
        found[name] = {"norm": 1.5, "average": known, "best": round(best * factor, 6)}
    return found


def history(rounds=3, failed=(), block=None):
    """history.json of an experiment's block."""
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
        own = None
        if number and federation.get("fraction_evaluate"):
            scores = [
                {"client": i, "name": n, "rows": 32, "loss": 0.9 / number + abs(number - 3) / 20}
                | {"bytes_down": 1_000_000, "bytes_up": 500}
                for i, n in enumerate(CLIENTS)
            ]
            own = {"loss": scores[0]["loss"], "clients": scores, "failed": []}
        watched = number % every == 0 or number == rounds
        norm = {"clipping_norm": 0.1 * 1.1**number, "noise_deviation": 0.1}
        records.append(
            {
                "round": number,
                "learning_rate": (None, 5e-4, 2.75e-4, 5e-5)[number % 4],
                "train_loss": mean,
                "evaluation": {"loss": 2.31 / (1 + 1.6 * number), "perplexity": 2.0, "rows": 64}
                if watched
                else None,
                "client_evaluation": own,
                "clients": clients,
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
                "drift": drift(number, None if len(set(ranks)) > 1 else 0.4) if number else None,
                "privacy": {"epsilon": 1.801 * number, "delta": private["delta"], **norm}
                if private and number
                else None,
                "gpus": [],
            }
        )
    told = (
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
        "strategy": federation.get("strategy", {"name": "fedavg"})["name"],
        "aggregation": federation.get("aggregation", "fedavg"),
        "precision": federation.get("communication", {}).get("precision", "float32"),
        "ranks": ranks,
        "stop_reason": None,
        "best_round": rounds,
        "result_round": rounds,
        "privacy": told,
        "rounds": records,
    }


def configured(**blocks):
    """The default configuration, for three rounds; its experiment's blocks may have more keys."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiment = raw["experiments"]["quickstart"]
    experiment["federation"]["rounds"] = 3
    experiment["training"]["optimizer_state"] = "fresh"  # which goes with every aggregation
    for name, block in blocks.items():
        experiment[name] = experiment.get(name, {}) | block
    return raw


def make(results, raw, *, failed=(), rename=None):
    """Writes a results directory for a configuration; returns it checked."""
    c = load_configuration(raw)
    used = stage_inputs.report(c)["configuration"]

    def put(name, value):
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value)
        for old, new in (rename or {}).items():
            text = text.replace(json.dumps(old), json.dumps(new))
        path.write_text(text, encoding="utf-8")

    origin = {"revision": "3.3.2", "licence": "MIT"}
    for name, block in used["models"].items():
        put(
            f"models/{name}/provenance.json",
            {"source": block["source"], "revision": "0.1.2", "licence": "Apache-2.0"}
            | {"parameters": 134515008, "files": {}},
        )
    for name, block in used["datasets"].items():
        counts = {"read": 23703, "filtered": 0, "duplicates": 193, "limited": 0}
        counts |= {"train": 23110, "test": 400}
        manifest = origin | {"source": block["source"], "rows": counts, "columns": []}
        manifest |= {"stratify_by": "label", "seed": 42, "files": {}}
        put(f"datasets/{name}/manifest.json", manifest)
    for name in used["partitions"]:
        shares = [
            {"client": i, "name": n, "rows": sum(labels.values()), "labels": labels}
            | {"validation": 0, "test": 0, "tokens": 9, "distance": i / 10}
            | {"sha256": "", "files": {}}
            for i, (n, labels) in enumerate(CLIENTS.items())
        ]
        whole = {label: sum(c[label] for c in CLIENTS.values()) for label in CLIENTS["tweets"]}
        put(
            f"partitions/{name}/manifest.json",
            {"partitioner": "natural_id", "column": "domain", "label_column": "label", "seed": 42}
            | {"labels": whole, "clients": shares, "dataset": origin | {"source": {}}},
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
        shape = {"name": "prompt_completion", "detected": False, "column": None}
        put(
            f"preprocessed/{folder}/manifest.json",
            {"shape": shape | {"templates": templates}, "clients": counts, "max_length": 256}
            | {"packing": False, "held_out": [], "test": None},
        )
        told = history(e["federation"]["rounds"], failed, e)
        put(f"experiments/{name}/history.json", told)
        put(f"experiments/{name}/metrics.json", all_metrics(e["baselines"], number / 50))
        put(
            f"experiments/{name}/merged/merge.json",
            {"largest_logit_difference": 1.9e-5, "prompts": 8}
            | {"tolerance": 1e-3, "precision": "float32"},
        )
        adapter = results / f"experiments/{name}/adapter/adapter_model.safetensors"
        lora = {"r": e["lora"]["r"], "lora_alpha": 16, "lora_dropout": 0.0}
        lora |= {"use_rslora": False, "target_modules": ["q_proj"]}
        put(f"experiments/{name}/adapter/adapter_config.json", lora)
        adapter.write_bytes(b"adapter")
        seconds = {f"preprocess/{folder}": 9.4}
        seconds |= {f"fetch_model/{e['model']}": 41.2, f"federate/{name}": 203.5}
        seconds |= {f"merge/{name}": 11.0, f"evaluate/{name}": 97.8, "federate/other-run": 5e5}
        seconds |= {f"control/{name}/{c}": 60.5 for c in ("centralised", "local_0", "local_3")}
        for job, s in seconds.items():
            path = results / f"benchmarks/{job}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\tmax_rss\n{s}\t0:00:00\t{s * 10:.2f}\n", encoding="utf-8")
    return c


def written(c, results):
    page.write_report(stage_inputs.report(c), results, results / "report")
    return (results / "report/index.html").read_text(encoding="utf-8")


def seen(html):
    """The text that a reader sees, spaces made plain."""

    text = unescape(re.sub(r"<[^<>]*>", "", re.sub(r"(?s)<style>.*?</style>", "", html)))
    return re.sub(r"\s+", " ", text)


def change(results, pattern, update):
    """Rewrites one manifest."""
    [path] = results.glob(pattern)
    found = files.read_json(path)
    update(found)
    files.write_json(path, found)
