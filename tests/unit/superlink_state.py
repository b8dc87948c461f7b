"""State of a real SuperLink with two nodes, called as Flower's handlers do."""

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import superlink
from blossomtune.deployment.message_guard import MessageGuard, calling_node
from blossomtune.deployment.request_delivery import RequestDelivery

HEARTBEAT_SECONDS = 30


class Link:
    """State of a SuperLink with a run and two nodes that are online."""

    def __init__(self):
        config = superlink._build_config("127.0.0.1", 1, None)
        app = flower.create_superlink_app(config, flower.SuperLinkLifespan)
        self.state = app.state.linkstate_factory.state()
        self.objects = self.state.object_store
        self.requests = RequestDelivery(self.state)
        MessageGuard(self.state, self.requests)
        aid, federation = "<none>", "@none/default"
        self.run = self.state.create_run(
            None, None, None, {}, federation, None, aid, flower.TaskType.SERVER_APP
        )
        self.nodes = [self.state.create_node(aid, "", bytes([i]), 0) for i in range(2)]
        for node in self.nodes:
            assert self.state.activate_node(node, HEARTBEAT_SECONDS)

    def call_as(self, node, function, *arguments):
        """Call a function as if a node had sent the request; None for the server."""
        token = calling_node.set(node)
        try:
            return function(*arguments)
        finally:
            calling_node.reset(token)

    def announce(self, message, node, tree=None):
        """Announce a message in the name of a node; return the ids to upload and the session."""
        message.metadata.__dict__["_message_id"] = message.object_id
        session = self.state.start_session(self.run)
        tree = tree or flower.get_object_tree(message)
        store = self.state.store_message_and_object_tree
        is_stored, missing = self.call_as(node, store, message, tree, session)
        assert is_stored or not missing
        return missing, session

    def upload(self, message, node, session, ids):
        """Upload objects of a message; return whether each was stored."""
        contents = {i: o.deflate() for i, o in flower.get_all_nested_objects(message).items()}
        return [
            self.call_as(node, self.state.store_object, self.run, session, i, contents[i])
            for i in ids
        ]

    def send(self, message, node=None):
        """Announce and upload a message."""
        ids, session = self.announce(message, node)
        assert ids
        assert all(self.upload(message, node, session, ids))

    def pull(self, *requests):
        """Return the server's replies to requests, as message ids or error codes."""
        replies = self.state.get_message_res({r.metadata.message_id for r in requests}, self.run)
        return [r.error.code if r.has_error() else r.metadata.message_id for r in replies]


def build_content(size=1000):
    return RecordDict({"a": ArrayRecord({"a": Array(np.arange(size, dtype=np.float32))})})


def request_to(node, **keys):
    return Message(build_content(**keys), node, "train")


def reply_to(request, sender=None, **keys):
    reply = Message(build_content(**keys), reply_to=request)
    reply.metadata._src_node_id = sender or request.metadata.dst_node_id
    return reply
