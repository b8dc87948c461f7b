"""Acquire Flower tasks over the Runtime API and report their results."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from blossomtune.deployment import flower_internal as flower

logger = logging.getLogger(__name__)


def connect_runtime(socket_path: Path, token: str | None = None) -> flower.RuntimeHttpClient:
    """Connect to the Runtime API of a SuperLink or a SuperNode.

    Args:
        socket_path: Socket of the API.
        token: Token of an acquired task; None to acquire one.

    Returns:
        The client of the API.
    """
    version = flower.RuntimeVersionHttpInterceptor(component_name="SuperExec")
    interceptors: list[flower.ProtobufClientInterceptor] = [version]
    if token:
        interceptors.append(flower.RuntimeTokenHttpInterceptor(token))
    return flower.connect_client(flower.RuntimeHttpClient, socket_path, interceptors)


def acquire_task(client: flower.RuntimeHttpClient, task_type: str) -> str | None:
    """Acquire a task.

    Args:
        client: Client of the Runtime API.
        task_type: Type of the task.

    Returns:
        The task's token, or None without a waiting task.
    """
    response = client.AcquireTask(flower.AcquireTaskRequest(supported_task_types=[task_type]))
    return response.token if response.HasField("task") and response.token else None


@contextmanager
def heartbeat(client: flower.RuntimeHttpClient) -> Iterator[None]:
    """Send a task's heartbeats, and at the end its status."""
    sender = flower.HeartbeatSender(flower.make_task_heartbeat_fn_http(client))
    sender.start()
    status, details = flower.SubStatus.FAILED, "interrupted"
    try:
        yield
        status, details = flower.SubStatus.COMPLETED, ""
    except Exception as error:
        details = str(error)
        raise
    finally:
        sender.stop()
        try:
            client.PushTaskOutput(flower.PushTaskOutputRequest(sub_status=status, details=details))
        except httpx.HTTPError as error:
            logger.warning("the task's status %s could not be sent: %s", status, error)
