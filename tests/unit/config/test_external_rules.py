"""Tests of conflicts with clients that keep their rows."""

import pytest

from blossomtune.config.load import ConfigurationError, load_configuration

EXTERNAL = {"name": "external", "host": "link.example"}


def build_configuration(experiment=None, federation=None, partition=None):
    source = {"kind": "path", "path": "own"}
    names = {"model": "m", "partition": "p", "preprocessing": "t"}
    partition = partition or {"partitioner": "local", "clients": ["b", "a"]}
    federation = {"engine": EXTERNAL} if federation is None else federation
    return {
        "run": ["x"],
        "models": {"m": {"source": source}},
        "datasets": {"d": {"source": source}},
        "partitions": {"p": {"dataset": "d"} | partition},
        "preprocessing": {"t": {"text": "{{ a }}"}},
        "experiments": {"x": names | (experiment or {}) | {"federation": federation}},
    }


def test_clients_are_sorted_by_name():
    loaded = load_configuration(build_configuration())
    assert loaded.partitions["p"].clients == ["a", "b"]
    assert loaded.partitions["p"].num_partitions == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"federation": {}}, "federation.engine: simulation trains on rows that are here"),
        (
            {"partition": {"partitioner": "iid", "num_partitions": 2}},
            "federation.engine: external is for clients that keep their rows",
        ),
        ({"experiment": {"baselines": {"local": True}}}, "baselines.local: it would need"),
        ({"experiment": {"baselines": {"centralised": True}}}, "baselines.centralised: it would"),
        (
            {"federation": {"engine": EXTERNAL, "client_weights": "held"}},
            "federation.client_weights: how many rows",
        ),
        (
            {
                "experiment": {"lora": {"ranks": {"column": "c", "ranks": {"x": 4}}}},
                "federation": {"engine": EXTERNAL, "aggregation": "flexlora"},
            },
            "lora.ranks: there are no rows here",
        ),
        (
            {"federation": {"engine": EXTERNAL, "tls": False}},
            "tls: false is for this machine alone",
        ),
        (
            {"partition": {"partitioner": "local", "clients": ["a"], "paths": {"a": "own"}}},
            "partitions.p: give one of paths and clients",
        ),
        ({"partition": {"partitioner": "local"}}, "partitions.p: give one of paths and clients"),
        (
            {"partition": {"partitioner": "local", "clients": ["a", "a"]}},
            "partitions.p.clients: 'a' is listed twice",
        ),
        (
            {"partition": {"partitioner": "local", "clients": ["a"], "num_partitions": 3}},
            "partitions.p: clients has 1 entries, but num_partitions is 3",
        ),
        (
            {"federation": {"engine": {"name": "external"}}},
            "federation.engine.host: missing; this key is required",
        ),
    ],
)
def test_conflicts_are_reported(changes, message):
    with pytest.raises(ConfigurationError) as error:
        load_configuration(build_configuration(**changes))
    assert message in str(error.value)
