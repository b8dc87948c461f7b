"""What cannot be asked for where clients keep their rows."""

import pytest

from blossomtune.config.load import ConfigurationError, load_configuration

OUTSIDE = {"name": "external", "host": "link.example"}


def configuration(experiment=None, federation=None, cut=None):
    source = {"kind": "path", "path": "own"}
    names = {"model": "m", "partition": "p", "preprocessing": "t"}
    cut = cut or {"partitioner": "local", "clients": ["b", "a"]}
    told = {"engine": OUTSIDE} if federation is None else federation
    return {
        "run": ["x"],
        "models": {"m": {"source": source}},
        "datasets": {"d": {"source": source}},
        "partitions": {"p": {"dataset": "d"} | cut},
        "preprocessing": {"t": {"text": "{{ a }}"}},
        "experiments": {"x": names | (experiment or {}) | {"federation": told}},
    }


def test_clients_are_numbered_in_the_order_of_their_names():
    loaded = load_configuration(configuration())
    assert loaded.partitions["p"].clients == ["a", "b"]
    assert loaded.partitions["p"].num_partitions == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"federation": {}}, "federation.engine: simulation trains on rows that are here"),
        (
            {"cut": {"partitioner": "iid", "num_partitions": 2}},
            "federation.engine: external is for clients that keep their rows",
        ),
        ({"experiment": {"baselines": {"local": True}}}, "baselines.local: it would need"),
        ({"experiment": {"baselines": {"centralised": True}}}, "baselines.centralised: it would"),
        (
            {"federation": {"engine": OUTSIDE, "client_weights": "held"}},
            "federation.client_weights: how many rows",
        ),
        (
            {
                "experiment": {"lora": {"ranks": {"column": "c", "ranks": {"x": 4}}}},
                "federation": {"engine": OUTSIDE, "aggregation": "flexlora"},
            },
            "lora.ranks: there are no rows here",
        ),
        ({"federation": {"engine": OUTSIDE, "tls": False}}, "tls: false is for this machine alone"),
        (
            {"cut": {"partitioner": "local", "clients": ["a"], "paths": {"a": "own"}}},
            "partitions.p: give one of paths and clients",
        ),
        ({"cut": {"partitioner": "local"}}, "partitions.p: give one of paths and clients"),
        (
            {"cut": {"partitioner": "local", "clients": ["a", "a"]}},
            "partitions.p.clients: 'a' stands there twice",
        ),
        (
            {"cut": {"partitioner": "local", "clients": ["a"], "num_partitions": 3}},
            "partitions.p: clients has 1 entries, but num_partitions is 3",
        ),
        (
            {"federation": {"engine": {"name": "external"}}},
            "federation.engine.host: missing; this key is required",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(given, said):
    with pytest.raises(ConfigurationError) as refused:
        load_configuration(configuration(**given))
    assert said in str(refused.value)
