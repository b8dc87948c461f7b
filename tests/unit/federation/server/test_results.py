import pytest
from artifact_samples import round_record, server_evaluation
from federation_samples import federation_spec

from blossomtune.errors import UserError
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.server.results import write_results
from blossomtune.training.checkpoints import Checkpoint

HISTORY = [round_record(n, evaluation=server_evaluation(loss)) for n, loss in enumerate([3, 1, 2])]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the results of keys of the federation block."""
    names = ("model", "preprocessed", "checkpoints", "adapter", "history")
    paths = ServerPaths(**{name: tmp_path / name for name in names})

    def write(last, best=None, stop_reason=None, **federation):
        write_results(federation_spec(**federation), paths, "cpu", last, best, stop_reason)

    yield write
    assert not paths.history.exists()


def test_run_without_a_trained_round_is_an_error(write):
    with pytest.raises(UserError, match="no round was trained: the budget is too small"):
        write(Checkpoint(0, {}, HISTORY[:1]), stop_reason="the budget is too small")


@pytest.mark.parametrize("best", [None, Checkpoint(2, {}, HISTORY)])
def test_missing_checkpoint_of_the_best_round_is_an_error(write, best):
    with pytest.raises(UserError, match="the best round was 1, and its checkpoint is gone"):
        write(Checkpoint(2, {}, HISTORY), best, result="best")
