"""Import and patch non-public parts of Flower; no other module of this project may do so.

The contract test ``tests/unit/deployment/test_flower_internal.py`` names what an upgrade changed.
"""

import time
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.app import Message

from blossomtune.errors import UserError

SUPPORTED_VERSION = "1.41.0"

if version("flwr") != SUPPORTED_VERSION:
    raise UserError(
        f"flwr {version('flwr')} is installed, and this workflow uses non-public parts of flwr "
        f"{SUPPORTED_VERSION}",
        "install envs/requirements.lock, or use federation.engine: simulation",
    )

# mypy: implicit-reexport
# ruff: noqa: E402, F401, I001 - after the check of the version, in groups, for other modules
# Control API: register SuperNodes, start a run
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest, UnregisterNodeRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.primitives.asymmetric import (
    bytes_to_public_key,
    public_key_to_bytes,
    verify_signature,
)

# Runtime API: acquire a task, report its result
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import DecodeError  # type: ignore[attr-defined]
from flwr.supercore.protobuf.client import ProtobufClient, ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

# ServerApp and ClientApp processes
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message

# SuperLink
from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.server.superlink.linkstate import LinkState
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    OBJECT_PUSH_SESSION_TTL_SECONDS,
    NodeStatus,
)
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app as create_superlink_app

# Times until which tasks, nodes and messages are valid
from flwr.server.superlink.linkstate import in_memory_linkstate
from flwr.supercore.corestate import in_memory_corestate
from flwr.supernode.nodestate import in_memory_nodestate

# Objects of messages
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_body,
    get_object_head_values_from_object_content,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects

# SuperNode
from flwr.common.config import parse_config_args
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supernode import start_client_internal as supernode_module
from flwr.supernode.main import create_app as create_supernode_app
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.start_client_internal import start_client_internal

TIMEOUT_SECONDS = 30

_FIND_OFFLINE_NODES = "check_node_availability_for_in_message"
_find_offline_nodes = getattr(in_memory_linkstate, _FIND_OFFLINE_NODES)

MIN_FILE_BYTES = 2**16
"""Size from which an object of a message is kept in a file."""

ClientT = TypeVar("ClientT", bound=ProtobufClient)


def connect_client(
    client_class: type[ClientT], path: Path, interceptors: Sequence[ProtobufClientInterceptor]
) -> ClientT:
    """Connect a Flower client to a Unix socket; Flower's constructor only takes TCP addresses.

    Args:
        client_class: Class of the client.
        path: Path of the socket.
        interceptors: Interceptors of the client's requests.

    Returns:
        The client, whose HTTP client has been replaced.
    """
    client = client_class("http://localhost", interceptors=interceptors)
    client._client.close()
    client._client = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), timeout=TIMEOUT_SECONDS
    )
    return client


def use_steady_clock() -> None:
    """Let time pass for Flower's state as the monotonic clock says, from now on.

    Otherwise a clock that is set forth by some minutes ends all tasks, since their heartbeats seem
    to be missing. The age of signatures is still measured by the clock of the machine.
    """
    started, start = datetime.now(UTC), time.monotonic()

    def now() -> datetime:
        return started + timedelta(seconds=time.monotonic() - start)

    for module in (in_memory_corestate, in_memory_linkstate, in_memory_nodestate):
        module.now = now  # type: ignore[attr-defined]


def allow_reconnect(link_state: LinkState, reconnects_file: Path) -> None:
    """Let a SuperNode that was killed reconnect at once.

    Flower rejects it until it misses the heartbeats of the killed one, about a minute later.
    A reconnecting SuperNode has signed its request with the node's key.

    Args:
        link_state: State of the SuperLink; its ``activate_node`` is replaced.
        reconnects_file: File that gets one line per reconnect, the node id.
    """
    activate = link_state.activate_node
    known_nodes: set[int] = set()

    def reactivate_node(node_id: int, heartbeat_interval: float) -> bool:
        link_state.deactivate_node(node_id)
        activated = activate(node_id, heartbeat_interval)
        if node_id in known_nodes:
            with reconnects_file.open("a") as file:
                file.write(f"{node_id}\n")
        known_nodes.add(node_id)
        return activated

    link_state.activate_node = reactivate_node  # type: ignore[method-assign] # the patch


def report_offline_nodes(request_ids: Container[str]) -> None:
    """Let Flower report that a node is offline only for some requests.

    After a minute without heartbeats, Flower replies to every request to a node with an error, and
    drops request and reply. A network that is lost for a while would then change the result.

    Args:
        request_ids: Ids of the requests; it may change later.
    """

    def find_offline_nodes(
        inquired_in_message_ids: set[str], *arguments: Any, **keywords: Any
    ) -> dict[str, Message]:
        reported = {i for i in inquired_in_message_ids if i in request_ids}
        errors: dict[str, Message] = _find_offline_nodes(reported, *arguments, **keywords)
        inquired_in_message_ids.difference_update(errors)
        return errors

    setattr(in_memory_linkstate, _FIND_OFFLINE_NODES, find_offline_nodes)


def mark_delivered(request: Message) -> None:
    """Note that a request is given to its node now.

    Args:
        request: Request in the state of a SuperLink.
    """
    request.metadata.delivered_at = in_memory_linkstate.now().isoformat()  # type: ignore[attr-defined]


def keep_objects_in_files(store: InMemoryObjectStore, folder: Path) -> None:
    """Keep large objects of messages in files instead of in memory.

    Args:
        store: Store of a SuperLink; its ``put``, ``get`` and ``delete`` are replaced.
        folder: Folder for the files; it must not exist.
    """
    folder.mkdir(parents=True)
    put, get, delete = store.put, store.get, store.delete

    def put_in_file(object_id: str, object_content: bytes) -> None:
        with store.lock_store:
            put(object_id, object_content)
            if len(object_content) >= MIN_FILE_BYTES:
                (folder / object_id).write_bytes(object_content)
                store.store[object_id].content = b""

    def get_from_file(object_id: str) -> bytes | None:
        with store.lock_store:
            content, file = get(object_id), folder / object_id
            return file.read_bytes() if content == b"" and file.exists() else content

    def delete_file(object_id: str) -> None:  # Flower calls it for the object's descendants, too
        with store.lock_store:
            is_known = object_id in store.store  # a client may ask for any name, such as ../key.pem
            delete(object_id)
            if is_known and object_id not in store.store:
                (folder / object_id).unlink(missing_ok=True)

    store.put = put_in_file  # type: ignore[method-assign] # the patch
    store.get = get_from_file  # type: ignore[method-assign]
    store.delete = delete_file  # type: ignore[method-assign]


def notify_on_message(notifications: Connection) -> None:
    """Send a byte when the SuperNode has stored a message; Flower's ClientApp polls instead.

    Args:
        notifications: Connection to the trainer process.
    """
    pull = supernode_module._pull_and_store_message

    def pull_and_notify(*args: Any, **kwargs: Any) -> int | None:
        run_id = pull(*args, **kwargs)
        if run_id is not None:
            notifications.send_bytes(b"!")
        return run_id

    supernode_module._pull_and_store_message = pull_and_notify


def replace_actor_pool(create_pool: Callable[..., Any]) -> None:
    """Make simulations create their pool of Ray workers by a function.

    Args:
        create_pool: Function with the keywords of Flower's ``BasicActorPool``.
    """
    from flwr.server.superlink.fleet.vce.backend import raybackend  # it imports Ray

    raybackend.BasicActorPool = create_pool  # type: ignore[assignment,attr-defined]


def set_task_identity(task_id: int, run_id: int, node_id: int) -> None:
    """Set this process's task, which Flower's messages name; Flower sets it in its own processes.

    Args:
        task_id: Id of the task.
        run_id: Id of the run.
        node_id: Id of the node.
    """
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task_id, run_id, node_id


def set_message_id(message: Message, message_id: str) -> None:
    """Set the id of a message; Flower's metadata has no setter for it.

    Args:
        message: The message to change.
        message_id: The new id.
    """
    message.metadata.__dict__["_message_id"] = message_id
