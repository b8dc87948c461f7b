"""What Flower has for a process to do: taking it over, and telling how it went."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from blossomtune.deployment.unix_sockets import connect_client


def connect_runtime(socket_path: Path, token: str | None = None) -> RuntimeHttpClient:
    """A connection to the Runtime API of a SuperLink or a SuperNode.

    Args:
        socket: where it is.
        token: of a task, to do what the task needs; None to take one.
    """
    who = [RuntimeTokenHttpInterceptor(token)] if token else []
    version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
    return connect_client(RuntimeHttpClient, socket_path, [version, *who])


def acquire_task(client: RuntimeHttpClient, task_type: TaskType) -> str | None:
    """Takes a task of a kind: its token, or None where there is nothing to do."""
    answer = client.AcquireTask(AcquireTaskRequest(supported_task_types=[task_type]))
    return answer.token if answer.HasField("task") and answer.token else None


@contextmanager
def heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    """Sends heartbeats of a task, and tells at the end how it went."""
    beats = HeartbeatSender(make_task_heartbeat_fn_http(client))
    beats.start()
    status, details = SubStatus.FAILED, "interrupted"
    try:
        yield
        status, details = SubStatus.COMPLETED, ""
    except Exception as error:
        details = str(error)
        raise
    finally:
        beats.stop()
        try:
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        except httpx.HTTPError as error:
            print(f"the other side could not be told how it went: {error}", flush=True)
