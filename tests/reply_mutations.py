"""Mutate the bytes of real replies, as a client may that speaks the protocol or breaks it."""

import hashlib
import json
import re

import torch
from federation_samples import federation_spec
from flwr.app import Error, Message, MetricRecord, RecordDict

from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.flower_internal import (
    get_all_nested_objects,
    set_message_id,
    set_task_identity,
)
from blossomtune.deployment.reply_reader import build_unreadable_reply, read_reply
from blossomtune.federation.messages import codec, replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.server.collect_replies import collect_train_replies
from blossomtune.federation.server.request_batch import RequestBatch

PRECISIONS = ("float32", "bfloat16", "int8")
START = {"q.lora_A.weight": torch.ones(8, 3), "q.lora_B.weight": torch.zeros(4, 8)}
ATTACKER, HONEST = 0, 1

INTERESTING = (
    *(b"", b"\0", b"\xff" * 8, b"-1", b"NaN", b"Infinity", b"1e999", b"[]", b"{}", b"null"),
    *(b"9" * 400, b"Message", b"RecordDict", b"ArrayRecord", b"MetricRecord", b"ConfigRecord"),
    *(b"ArrayChunk", b"Array", b"\x93NUMPY", b"'<f8'", b"'|O'", b"(1000000000000,)", b"," * 50),
    *(b"\x1b[2J", "\u202e".encode(), b"\\ud800", b'"control"', b'"adapter"', b'"metrics"'),
    *(b"\x00\x00\x80\x7f", b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f"),  # inf, NaN, 3e38
)


class Rounds:
    """Train replies of an attacker and of an honest client, read as the server reads them.

    Args:
        precision: Precision of adapters in messages.
        with_control: Include SCAFFOLD's control variates.
    """

    def __init__(self, precision="float32", with_control=False):
        set_task_identity(1, 1, 1)
        self.with_control = with_control
        training = TrainingSettings(learning_rate_max=0.05, arguments={"max_steps": 2})
        strategy = "scaffold" if with_control else "fedavg"
        communication = {"precision": precision}
        self.spec = federation_spec(
            training=training,
            names=("attacker", "honest"),
            strategy=strategy,
            communication=communication,
            max_update_norm=20.0,
        )
        content = RecordDict({"adapter": codec.encode(START, precision)[0]})
        if with_control:
            content["control"] = codec.encode(START, "float32")[0]
        self.request = Message(content, 7, "train")
        set_message_id(self.request, "0" * 64)
        state = {name: value + 0.25 for name, value in START.items()}
        metrics = dict.fromkeys(replies.TRAIN_METRICS, 2.0)
        reply = TrainReply(START, state, START if with_control else None, metrics, {})
        self.content, _ = replies.encode_train_reply(reply, precision)
        self.honest = Message(self.content, reply_to=self.request)

    def list_messages(self):
        """Return real messages of a client: train, evaluate and query replies, and an error."""
        scores = RecordDict({"metrics": MetricRecord({"loss": 0.5, "rows": 3.0, "client": 0.0})})
        error = Message(Error(0, "<class 'UserError'>:<'Message: no rows'>"), reply_to=self.request)
        return [self.honest, self.honest, Message(scores, reply_to=self.request), error]

    def read(self, contents, message_id):
        """Read a message as the grid does; return it, with an error if it cannot be read."""
        try:
            return read_reply(contents, message_id, self.request)
        except Exception as error:
            return build_unreadable_reply(error, self.request)

    def collect(self, reply, spool):
        """Collect the attacker's reply and an honest one as the server does."""
        requests = RequestBatch(dict.fromkeys((ATTACKER, HONEST)), {}, {}, {})
        return collect_train_replies(
            self.spec,
            [ATTACKER, HONEST],
            requests,
            {8: START},
            [(ATTACKER, reply), (HONEST, self.honest)],
            spool,
            server_control=START if self.with_control else None,
            learning_rate=0.05,
        )


def mutate(random, message):
    """Mutate one to four objects of a message.

    Args:
        random: Random number generator.
        message: Message to mutate.

    Returns:
        Contents of the objects by id, and the message's id. In half of the cases, all ids are the
        digests of the contents again, which the SuperLink requires.
    """
    items = get_all_nested_objects(message)  # children before parents
    order = list(items)
    contents = {object_id: item.deflate() for object_id, item in items.items()}
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        target = random.choice(order)
        contents[target] = _mutate_bytes(random, contents[target], list(contents.values()))
    if random.random() < 0.1:
        contents[random.choice(order)] = contents[random.choice(order)]
    if random.random() < 0.5:
        return _with_true_ids(order, contents)
    if random.random() < 0.1:
        del contents[random.choice(order)]
    return contents, order[-1]


def _mutate_bytes(random, content, others):
    data = bytearray(content)
    position = random.randrange(len(data) + 1)
    length = random.choice((1, 1, 2, 4, 8, 64, 100_000))
    kind = random.randrange(7)
    if kind == 0:
        for _ in range(random.choice((1, 1, 2, 16))):
            if data:
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == 1:
        del data[position : position + length]
    elif kind == 2:
        data[position : position + length] = random.choice(INTERESTING)
    elif kind == 3:
        data[position:position] = random.choice(INTERESTING)
    elif kind == 4:
        data[position:position] = data[position : position + length] * random.choice((1, 2, 100))
    elif kind == 5:
        other = random.choice(others)
        start = random.randrange(len(other) + 1)
        data[position : position + length] = other[start : start + length]
    else:
        numbers = list(re.finditer(rb"\d+", bytes(data)))
        if numbers:
            number = random.choice(numbers)
            value = random.choice((b"0", b"1", b"-1", b"2147483648", b"9" * 30, b"1.5"))
            data[number.start() : number.end()] = value
    return bytes(data)


def _with_true_ids(order, contents):
    """Return contents with true lengths and with their digests as ids, also in their parents."""
    new_ids = {}
    renamed = {}
    for object_id in order:
        content = contents[object_id]
        for old, new in new_ids.items():
            content = content.replace(old.encode(), new.encode())
        head, divider, body = content.partition(b"\0")
        head = re.sub(rb" -?\d+$", b" %d" % len(body), head)
        content = head + divider + body
        new_ids[object_id] = hashlib.sha256(content).hexdigest()
        renamed[new_ids[object_id]] = content
    return renamed, new_ids[order[-1]]


def check_mutations(random, count, spool):
    """Read and collect mutated replies; raise AssertionError if one does harm.

    Args:
        random: Random number generator.
        count: Number of replies.
        spool: File of the replies' tensors.

    Returns:
        Numbers of replies that could not be read, were refused, and were accepted.
    """
    kinds = [Rounds(precision, control) for precision in PRECISIONS for control in (False, True)]
    counts = {"unreadable": 0, "refused": 0, "accepted": 0}
    for _ in range(count):
        rounds = random.choice(kinds)
        contents, message_id = mutate(random, random.choice(rounds.list_messages()))
        reply = rounds.read(contents, message_id)
        if reply.has_content():
            assert len(reply.content.object_id) == 64  # as the audit log computes it
        assert reply.metadata.reply_to_message_id == rounds.request.metadata.message_id
        counts[_check_collected(rounds, reply, rounds.collect(reply, spool))] += 1
    return counts


def _check_collected(rounds, reply, collected):
    records = [*collected.records, *collected.failed]
    json.dumps([record.model_dump(mode="json") for record in records], allow_nan=False)
    for name in START:  # float32 holds one and the quarter that honest clients add
        assert torch.allclose(collected.valid[HONEST].state[name], START[name] + 0.25, atol=1e-6)
    if ATTACKER not in collected.valid:
        [failure] = collected.failed
        assert failure.reason
        assert len(failure.reason) <= 500
        assert failure.reason.isprintable()
        return "unreadable" if reply.has_error() else "refused"
    accepted = collected.valid[ATTACKER]
    for name, value in START.items():
        assert accepted.state[name].shape == value.shape
        assert torch.isfinite(accepted.state[name]).all()
        assert (accepted.state[name] - value).double().norm() <= 20 * 0.05 * 2 * 56**0.5
    assert 1 <= accepted.metrics["examples"] <= 16
    assert 1 <= accepted.metrics["steps"] <= 2
    return "accepted"
