"""Record what the server does with its clients."""

from collections.abc import Mapping, Sequence

from flwr.app import Message, MessageType, RecordDict

from blossomtune.artifacts.audit_events import (
    ClientJoined,
    NodeRefused,
    ReplyReceived,
    RequestSent,
    ResultWritten,
    RoundCompleted,
    RunStarted,
    Task,
)
from blossomtune.artifacts.audit_log import AuditLog, compute_tensors_sha256
from blossomtune.artifacts.round_record import ClientFailure, ClientTraffic, RoundRecord
from blossomtune.federation.paths import ServerPaths
from blossomtune.files import compute_file_sha256, compute_json_sha256
from blossomtune.named_tensors import StateDict

_TASKS: Mapping[str, Task] = {MessageType.TRAIN: "train", MessageType.EVALUATE: "evaluate"}


class ServerAudit:
    """Entries of one run in an audit log.

    Args:
        log: The log; None to keep none.
        key_fingerprints: Fingerprint of the public key of each node that has one; they change when
            keys are replaced.
    """

    def __init__(
        self, log: AuditLog | None = None, key_fingerprints: Mapping[int, str] | None = None
    ) -> None:
        self._append = log.append if log else lambda _: None
        # not `or {}`: others add and replace fingerprints
        self._key_fingerprints = {} if key_fingerprints is None else key_fingerprints
        self._joined: dict[int, ClientJoined] = {}  # the last event by client
        self._reply_sha256: dict[int, str] = {}

    def record_start(self, run_name: str, round_number: int) -> None:
        """Record that the run starts, or goes on.

        Args:
            run_name: Identifier of the run.
            round_number: The last completed round.
        """
        self._append(RunStarted(run=run_name, round=round_number))

    def record_join(self, client: int, node: int) -> None:
        """Record that a node is a client, or has another key.

        Args:
            client: The client's number.
            node: Id of the node.
        """
        key = self._key_fingerprints.get(node)
        self._joined[client] = ClientJoined(client=client, node=node, key=key)
        self._append(self._joined[client])

    def record_refusal(self, node: int, reason: str) -> None:
        """Record that a node is not accepted.

        Args:
            node: Id of the node.
            reason: Why it is not.
        """
        self._append(NodeRefused(node=node, key=self._key_fingerprints.get(node), reason=reason))

    def record_requests(
        self, round_number: int, message_type: str, contents: Mapping[int, RecordDict]
    ) -> None:
        """Record the messages to clients.

        Args:
            round_number: Number of the round.
            message_type: Flower's type of the messages.
            contents: Content of each message, by client.
        """
        self._reply_sha256 = {}
        for client, content in contents.items():
            sha256 = content.object_id
            task = _TASKS[message_type]
            self._append(RequestSent(round=round_number, task=task, client=client, sha256=sha256))

    def note_reply(self, client: int, reply: Message) -> None:
        """Note the content of a reply until it is known whether it counts.

        Args:
            client: The client's number.
            reply: What it sent.
        """
        if reply.has_content():
            self._reply_sha256[client] = reply.content.object_id

    def record_replies(
        self, round_number: int, message_type: str, traffic: Sequence[ClientTraffic]
    ) -> None:
        """Record which replies count, after the keys that were replaced meanwhile.

        Args:
            round_number: Number of the round.
            message_type: Flower's type of the messages.
            traffic: Records of all clients that were asked; those that failed have a reason.
        """
        for client, event in list(self._joined.items()):
            if self._key_fingerprints.get(event.node) != event.key:
                self.record_join(client, event.node)
        for record in sorted(traffic, key=lambda record: record.client):
            self._append(
                ReplyReceived(
                    round=round_number,
                    task=_TASKS[message_type],
                    client=record.client,
                    sha256=self._reply_sha256.get(record.client),
                    reason=record.reason if isinstance(record, ClientFailure) else None,
                )
            )

    def record_round(self, record: RoundRecord, adapter: StateDict) -> None:
        """Record the end of a round, before its checkpoint is saved.

        Args:
            record: The round's record.
            adapter: The global adapter.
        """
        tensors = {name: tensor.numpy(force=True) for name, tensor in adapter.items()}
        self._append(
            RoundCompleted(
                round=record.round,
                adapter=compute_tensors_sha256(tensors),
                record=compute_json_sha256(record.model_dump(mode="json")),
            )
        )

    def record_result(self, paths: ServerPaths) -> None:
        """Record the files of the result.

        Args:
            paths: Paths of the outputs, which are complete.
        """
        files = [*sorted(paths.adapter.iterdir()), paths.history]
        self._append(ResultWritten(files={file.name: compute_file_sha256(file) for file in files}))
