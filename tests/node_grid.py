"""Grid of nodes that say which client they are."""

from flwr.app import Message, MetricRecord, RecordDict

from blossomtune.deployment.flower_internal import set_message_id
from blossomtune.federation.messages.versions import encode_versions


class NodeGrid:
    """Answers each message with the content, the error or the silence of its node.

    Args:
        answers: Answer by node id; None for silence.
    """

    def __init__(self, answers):
        self.answers, self.replies = answers, {}
        self.online = list(answers)
        self.sent = 0

    def get_node_ids(self):
        return list(self.online)

    def push_messages(self, messages):
        for message in messages:
            self.sent += 1
            set_message_id(message, f"{self.sent}-{message.metadata.dst_node_id}")
            answer = self.answers[message.metadata.dst_node_id]
            if answer is not None:
                self.replies[message.metadata.message_id] = Message(answer, reply_to=message)
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        return [self.replies.pop(i) for i in sorted(message_ids & self.replies.keys())]


def answer_number(client):
    """Return the answer of a client's node."""
    metrics = MetricRecord({"client": client})
    return RecordDict({"metrics": metrics, "versions": encode_versions()})
