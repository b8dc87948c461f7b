"""Acquire Flower tasks over the Runtime API and report their results."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from blossomtune.deployment.flower_internal import (
    AcquireTaskRequest,
    HeartbeatSender,
    ProtobufClientInterceptor,
    PushTaskOutputRequest,
    RuntimeHttpClient,
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SubStatus,
    connect_client,
    make_task_heartbeat_fn_http,
)

logger = logging.getLogger(__name__)


def connect_runtime(socket_path: Path, token: str | None = None) -> RuntimeHttpClient:
    """Connect to the Runtime API of a SuperLink or a SuperNode.

    Args:
        socket_path: socket of the API.
        token: token of an acquired task; None to acquire one.

    Returns:
        The client of the API.
    """
    version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
    interceptors: list[ProtobufClientInterceptor] = [version]
    if token:
        interceptors.append(RuntimeTokenHttpInterceptor(token))
    return connect_client(RuntimeHttpClient, socket_path, interceptors)


def acquire_task(client: RuntimeHttpClient, task_type: str) -> str | None:
    """Acquire a task.

    Args:
        client: client of the Runtime API.
        task_type: type of the task.

    Returns:
        The task's token, or None without a waiting task.
    """
    response = client.AcquireTask(AcquireTaskRequest(supported_task_types=[task_type]))
    return response.token if response.HasField("task") and response.token else None


@contextmanager
def heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    """Send a task's heartbeats, and at the end its status."""
    sender = HeartbeatSender(make_task_heartbeat_fn_http(client))
    sender.start()
    status, details = SubStatus.FAILED, "interrupted"
    try:
        yield
        status, details = SubStatus.COMPLETED, ""
    except Exception as error:
        details = str(error)
        raise
    finally:
        sender.stop()
        try:
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        except httpx.HTTPError as error:
            logger.warning("the task's status %s could not be sent: %s", status, error)
