"""Mutated bytes of real replies never harm more than their own client: 20,000 cases."""

import random

import pytest
from reply_mutations import check_mutations

from blossomtune.federation.server.tensor_spool import TensorSpool

CASES = 5_000


@pytest.mark.parametrize("seed", range(4))
def test_mutated_reply_is_a_failure_of_its_client(seed, tmp_path):
    with TensorSpool(tmp_path) as spool:
        counts = check_mutations(random.Random(seed), CASES, spool)
    assert sum(counts.values()) == CASES
    assert min(counts.values()) > CASES / 50, counts  # the fuzzer reaches each check
