"""A SuperNode that sends what its caller likes."""

import signal
import socket
import ssl
import time
from base64 import b64encode
from datetime import UTC, datetime

from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message  # oracle
from flwr.common.serde import message_from_proto, message_to_proto  # oracle
from flwr.proto.fleet_pb2 import (  # oracle
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import (  # oracle
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node  # oracle
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor  # oracle
from flwr.supercore.primitives.asymmetric import sign_message  # oracle
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE  # oracle
from flwr.supernode.fleet_http_client import FleetHttpClient  # oracle
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor  # oracle

from blossomtune.deployment.flower_internal import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    get_all_nested_objects,
    get_object_tree,
    inflate_object_from_contents,
    iterate_object_tree,
    public_key_to_bytes,
    set_message_id,
    set_task_identity,
)
from blossomtune.deployment.keys import KeyStore, load_private_key
from blossomtune.files import read_json

HEARTBEAT_SECONDS = 1800


class FleetNode:
    """A SuperNode of a federation that runs on this machine.

    Args:
        run_folder: Temporary folder of the federation.
        client: Name of the client in the names of its keys.
        keys: Folder of the keys; by default that of the run.
    """

    def __init__(self, run_folder, client, keys=None):
        self.keys = KeyStore(keys or run_folder / "keys")
        self.port = read_json(run_folder / "superlink" / "superlink.json")["port"]
        self.key = load_private_key(self.keys.supernode_key(client))
        self.public_key = public_key_to_bytes(self.key.public_key())
        self.api = FleetHttpClient.from_server_address(
            f"127.0.0.1:{self.port}",
            False,
            self.keys.ca_certificate.read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(self.key, self.key.public_key()),
            ],
        )

    def activate(self):
        """Connect, in place of another SuperNode with this key."""
        request = ActivateNodeRequest(
            public_key=self.public_key, heartbeat_interval=HEARTBEAT_SECONDS
        )
        self.node = Node(node_id=self.api.ActivateNode(request).node_id)

    def pull(self):
        """Return the messages that wait for this node, without content, and their objects."""
        response = self.api.PullMessages(PullMessagesRequest(node=self.node))
        messages = map(message_from_proto, response.messages_list)
        return list(zip(messages, response.message_object_trees, strict=True))

    def download(self, message, tree):
        """Download a message, and confirm that it has arrived; return its content."""
        run_id, contents = message.metadata.run_id, {}
        for object_id in {child.object_id for child in iterate_object_tree(tree)}:
            request = PullObjectRequest(node=self.node, run_id=run_id, object_id=object_id)
            while not (response := self.api.PullObject(request)).object_available:
                time.sleep(0.1)  # the server is still uploading it
            contents[object_id] = response.object_content
        self.api.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self.node, run_id=run_id, message_object_id=tree.object_id
            )
        )
        return inflate_object_from_contents(tree.object_id, contents).content

    def receive(self, message_type):
        """Return the next message of a type, without content, and its objects."""
        while True:
            for message, tree in self.pull():
                if message.metadata.message_type == message_type:
                    return message, tree
            time.sleep(0.1)

    def build_reply(self, request, content=None):
        """Return a reply to a request."""
        set_task_identity(1, request.metadata.run_id, self.node.node_id)
        reply = Message(RecordDict() if content is None else content, reply_to=request)
        return reply

    def announce(self, reply):
        """Announce a reply; return the ids of the objects to upload, and the session."""
        set_message_id(reply, reply.object_id)
        response = self.api.PushMessages(
            PushMessagesRequest(
                node=self.node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[get_object_tree(reply)],
                clientapp_runtime_list=[0.0],
            )
        )
        return list(response.objects_to_push), response.session_id

    def upload(self, reply, session, object_ids):
        """Upload objects of a reply; return whether each was stored."""
        contents = {i: o.deflate() for i, o in get_all_nested_objects(reply).items()}
        requests = [
            PushObjectRequest(
                node=self.node,
                run_id=reply.metadata.run_id,
                session_id=session,
                object_id=object_id,
                object_content=contents[object_id],
            )
            for object_id in object_ids
        ]
        return [self.api.PushObject(request).stored for request in requests]

    def send(self, reply):
        """Announce a reply and upload its objects."""
        object_ids, session = self.announce(reply)
        self.upload(reply, session, object_ids)

    def connect(self):
        """Return a TLS connection."""
        context = ssl.create_default_context(cafile=str(self.keys.ca_certificate))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def build_head(self, path, num_bytes, *, with_key=True):
        """Return the head of a request, signed now."""
        lines = [f"POST {path} HTTP/1.1", "host: x", f"content-type: {PROTOBUF_MEDIA_TYPE}"]
        lines += [f"content-length: {num_bytes}"]
        if with_key:
            timestamp = datetime.now(UTC).isoformat()
            signature = sign_message(self.key, timestamp.encode())
            lines += [f"{FLEET_HTTP_PUBLIC_KEY_HEADER}: {b64encode(self.public_key).decode()}"]
            lines += [f"{FLEET_HTTP_SIGNATURE_HEADER}: {b64encode(signature).decode()}"]
            lines += [f"{TIMESTAMP_HEADER}: {timestamp}"]
        return "\r\n".join([*lines, "", ""]).encode()


def replace_supernode(process, client):
    """Suspend a client's processes; return a node of the test with its key."""
    for kind in ("supernode", "trainer"):
        process.find_children(kind)[client].send_signal(signal.SIGSTOP)
    return FleetNode(process.get_run_folder(), client)
