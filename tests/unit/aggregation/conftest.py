"""Fixtures of the aggregation tests."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    """Use one thread, since threads wait for one another on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
