"""What Flower has for a process to do: taking it over, and telling how it went."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


@dataclass(frozen=True)
class Desk:
    """Where tasks are handed out: the Runtime API of a SuperLink or of a SuperNode.

    Attributes:
        address: as ``host:port``.
        secret: what those who may take tasks know.
        authority: certificate of the authority of the other side's certificate, PEM; None for
            plain text.
    """

    address: str
    secret: bytes
    authority: bytes | None = None

    def client(self, token: str | None = None) -> RuntimeHttpClient:
        """A connection; with a task's token it may do what the task needs, else take a task."""
        who = (
            RuntimeTokenHttpInterceptor(token)
            if token
            else SuperExecAuthHttpInterceptor(
                master_secret=self.secret, protected_methods=[ACQUIRE]
            )
        )
        return RuntimeHttpClient.from_server_address(
            self.address,
            self.authority is None,
            self.authority,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), who],
        )


def acquire(client: RuntimeHttpClient, kind: TaskType) -> str | None:
    """Takes a task of a kind: its token, or None where there is nothing to do."""
    answer = client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
    return answer.token if answer.HasField("task") and answer.token else None


@contextmanager
def alive(client: RuntimeHttpClient) -> Iterator[None]:
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
        _quietly(
            lambda: client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=details))
        )


def _quietly(call: Callable[[], object]) -> None:
    import httpx

    try:
        call()
    except httpx.HTTPError as error:
        print(f"the other side could not be told how it went: {error}", flush=True)
