import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.training.ranks import resolve_client_ranks

NAMES = ["ward", "clinic"]
BY_COLUMN = {"column": "gpu", "ranks": {"small": 4, "1": 8}}


@pytest.fixture
def write_partition(tmp_path):
    """Write the column ``gpu`` of each client and return the partition's directory."""

    def write(*columns):
        for i, column in enumerate(columns):
            table = pa.table({"gpu": column, "text": ["a"] * len(column)})
            pq.write_table(table, tmp_path / f"client_{i}.parquet")
        return tmp_path

    return write


def test_clients_have_the_server_rank_by_default(tmp_path):
    assert resolve_client_ranks(LoraSettings(r=5), tmp_path, NAMES) == [5, 5]
    assert resolve_client_ranks(LoraSettings(r=5, ranks=[2, 5]), tmp_path, NAMES) == [2, 5]


def test_ranks_follow_the_text_of_a_column(write_partition):
    lora = LoraSettings(r=8, ranks=BY_COLUMN)
    assert resolve_client_ranks(lora, write_partition(["small", "small"], ["1"]), NAMES) == [4, 8]
    assert resolve_client_ranks(lora, write_partition([1, 1], [1]), NAMES) == [8, 8]


@pytest.mark.parametrize(
    ("column", "columns", "message"),
    [
        ("gpu", (["small"], ["big"]), "client 1 (clinic) has 'big' in column 'gpu'"),
        ("gpu", (["small", "1"], ["1"]), "client 0 (ward) has '1', 'small' in column 'gpu'"),
        ("gpus", (["small"], ["1"]), "did you mean 'gpu'?"),
    ],
)
def test_column_without_one_rank_per_client_is_rejected(write_partition, column, columns, message):
    lora = LoraSettings(r=8, ranks=BY_COLUMN | {"column": column})
    with pytest.raises(UserError) as error:
        resolve_client_ranks(lora, write_partition(*columns), NAMES)
    assert message in str(error.value)
