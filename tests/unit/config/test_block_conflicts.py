"""Tests of conflicts between blocks."""

from config_samples import RAW, get_errors_of_blocks


def test_mixture_of_itself_is_rejected():
    def mixture(*members):
        return {"source": {"kind": "mixture", "datasets": ["vader-sentiment", *members]}}

    assert get_errors_of_blocks(
        datasets={"a": mixture("b"), "b": mixture("a"), "c": mixture("a")}
    ) == [
        "datasets.a.source.datasets: 'a' would be mixed from itself",
        "datasets.b.source.datasets: 'b' would be mixed from itself",
    ]


def test_test_split_of_all_rows_needs_local_clients():
    data = RAW["datasets"]["vader-sentiment"] | {"test": {"size": "all"}}
    partition = {"dataset": "only", "partitioner": "iid", "num_partitions": 2}
    assert get_errors_of_blocks(datasets={"only": data}, partitions={"p": partition}) == [
        "partitions.p.dataset: 'only' has test.size: all, so there are no rows to train on; "
        "only partitioner local can do without"
    ]


def test_two_experiments_do_not_publish_to_one_branch():
    first = RAW["experiments"]["quickstart"]
    experiments = {
        "quickstart": first | {"publish": {"repo": "a/b"}},
        "second": first | {"publish": {"repo": "a/b"}},
        "third": first | {"publish": {"repo": "a/b", "revision": "v2"}},
    }
    assert get_errors_of_blocks(experiments=experiments) == [
        "experiments.second.publish: 'quickstart' has the same repository a/b and branch main; "
        "give one of them another repo or revision"
    ]
