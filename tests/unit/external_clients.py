"""Configuration of two clients that hold their own rows."""

from blossomtune.config.load import load_configuration

CLIENTS = {"north": ["good", "bad", "fine"], "south": ["dull", "nice"]}


def build_config(model, keys, partition):
    """Return a configuration: clients with local rows, engine ``external`` or a simulation.

    Args:
        model: Directory of the base model.
        keys: Folder of keys; the rows of the test set are beside it.
        partition: Keys of the partition's block, with ``clients`` for engine ``external``.
    """
    return load_configuration(
        {
            "seed": 5,
            "run": ["x"],
            "models": {"tiny": {"source": {"kind": "path", "path": str(model)}}},
            "datasets": {
                "words": {
                    "source": {"kind": "path", "path": str(keys.parent / "test.csv")},
                    "format": {"kind": "csv"},
                    "derive": {"shout": "{{ word | upper }}"},
                    "test": {"size": "all"},
                }
            },
            "partitions": {"p": {"dataset": "words", "partitioner": "local"} | partition},
            "preprocessing": {"t": {"prompt": "{{ shout }}?", "completion": "{{ answer }}"}},
            "experiments": {
                "x": {
                    "model": "tiny",
                    "partition": "p",
                    "preprocessing": "t",
                    "federation": {
                        "privacy": {"secret": "/etc/secret"},
                        "engine": {"name": "external", "host": "link.example", "keys": str(keys)}
                        if "clients" in partition
                        else "simulation",
                    },
                }
            },
        }
    )
