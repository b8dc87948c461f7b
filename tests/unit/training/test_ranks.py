import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.training.ranks import resolve_client_ranks

NAMES = ["ward", "clinic"]
BY_COLUMN = {"column": "gpu", "ranks": {"small": 4, "1": 8}}


@pytest.fixture
def partition(tmp_path):
    """Writes the clients' column ``gpu`` and returns the partition's directory."""

    def write(*values):
        for i, column in enumerate(values):
            table = pa.table({"gpu": column, "text": ["a"] * len(column)})
            pq.write_table(table, tmp_path / f"client_{i}.parquet")
        return tmp_path

    return write


def test_without_ranks_all_have_the_servers(partition):
    assert resolve_client_ranks(LoraSettings(r=5), partition(), NAMES) == [5, 5]
    assert resolve_client_ranks(LoraSettings(r=5, ranks=[2, 5]), partition(), NAMES) == [2, 5]


def test_ranks_by_a_column(partition):
    lora = LoraSettings(r=8, ranks=BY_COLUMN)
    assert resolve_client_ranks(lora, partition(["small", "small"], ["1"]), NAMES) == [4, 8]
    assert resolve_client_ranks(lora, partition([1, 1], [1]), NAMES) == [
        8,
        8,
    ]  # numbers are their text


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("gpu", (["small"], ["big"]), "client 1 (clinic) has 'big' in column 'gpu'"),
        ("gpu", (["small", "1"], ["1"]), "client 0 (ward) has '1', 'small' in column 'gpu'"),
        ("gpus", (["small"], ["1"]), "did you mean 'gpu'?"),
    ],
)
def test_a_column_that_does_not_say_one_rank_is_told(partition, column, values, message):
    lora = LoraSettings(r=8, ranks=BY_COLUMN | {"column": column})
    with pytest.raises(UserError) as error:
        resolve_client_ranks(lora, partition(*values), NAMES)
    assert message in str(error.value)
