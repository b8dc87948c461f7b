"""The same work on many tasks, on all cores, with the results in order."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from blossomtune.errors import UserError
from blossomtune.process_lifetime import exit_with_parent

_worker_function: Callable[[Any], Any]  # of a worker process


def map_ordered(function: Callable[[Any], Any], tasks: Iterable[Any], cores: int) -> Iterator[Any]:
    """Yields ``work(task)`` of each task, in the order of the tasks.

    Args:
        work: what to do; worker processes inherit it, so it need not be picklable.
        tasks: what to do it with; picklable.
        cores: how many processes work. With one or none, it is this one.

    Raises:
        UserError: where a worker was killed. What ``work`` raises is raised here, too.
    """
    if cores <= 1:
        yield from map(function, tasks)
        return
    coming = iter(tasks)
    pool = ProcessPoolExecutor(
        cores, multiprocessing.get_context("fork"), _initialize_worker, (function,)
    )
    try:
        # two a worker, so that none waits for the next, and memory stays bounded
        under_way = deque(pool.submit(_run_task, task) for task in islice(coming, 2 * cores))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(_run_task, task) for task in islice(coming, 1))
            yield result
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed; most often there is too little memory",
            "give fewer cores: each needs memory of its own",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_worker(function: Callable[[Any], Any]) -> None:
    global _worker_function
    _worker_function = function
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker is one core's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    exit_with_parent()


def _run_task(task: Any) -> Any:
    return _worker_function(task)
