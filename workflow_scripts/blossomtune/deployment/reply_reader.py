"""Read the reply of one client from the objects that it has sent."""

import json
from collections.abc import Callable, Iterator, Mapping

from flwr.app import Array, Error, Message, RecordDict

from blossomtune.deployment import flower_internal as flower
from blossomtune.text_cleaning import clean_line

MAX_METADATA_BYTES = 2**16
"""Bytes of a reply besides the numbers in its arrays."""


def compute_max_bytes(request: RecordDict) -> int:
    """Compute the largest size of a reply: a client sends no more tensors than it received.

    Args:
        request: Content of the message that is replied to.

    Returns:
        Number of bytes.
    """
    arrays = request.array_records.values()
    return sum(record.count_bytes() for record in arrays) + MAX_METADATA_BYTES


def limit_bytes(pull: Callable[[str], bytes], max_bytes: int) -> Callable[[str], bytes]:
    """Return a function that pulls objects until they are too large together.

    Args:
        pull: Function that returns the content of an object.
        max_bytes: Largest size of all objects.

    Returns:
        The function; it raises ValueError beyond the size.
    """
    num_bytes = 0

    def pull_limited(object_id: str) -> bytes:
        nonlocal num_bytes
        content = pull(object_id)
        num_bytes += len(content)
        if num_bytes > max_bytes:
            raise ValueError(f"it has more than {max_bytes} bytes")
        return content

    return pull_limited


def read_reply(contents: dict[str, bytes], message_id: str, request: Message) -> Message:
    """Build a message from its objects.

    Only content and error are the client's: the rest would let it reply for another client.

    Args:
        contents: Contents of the objects by id; they are removed as they are read.
        message_id: Object of the message.
        request: Message that is replied to.

    Returns:
        The reply.

    Raises:
        ValueError: If the objects are too large or no message. Flower raises other errors, too.
    """
    max_bytes = compute_max_bytes(request.content)
    if sum(_iter_chunk_sizes(contents)) > max_bytes:  # an array may repeat its chunks
        raise ValueError(f"its arrays have more than {max_bytes} bytes")
    message = flower.inflate_object_from_contents(message_id, contents)
    if not isinstance(message, Message):
        raise ValueError(f"it is no message, but a {type(message).__name__}")
    if message.has_error():
        return Message(message.error, reply_to=request)
    return Message(message.content, reply_to=request)


def build_unreadable_reply(error: Exception, request: Message) -> Message:
    """Build a reply for a client whose own reply cannot be read.

    Args:
        error: What reading it raised.
        request: Message that is replied to.

    Returns:
        A reply with an error.
    """
    reason = f"the reply cannot be read: {clean_line(str(error) or type(error).__name__)}"
    return Message(Error(flower.ErrorCode.MESSAGE_UNAVAILABLE, reason), reply_to=request)


def _iter_chunk_sizes(contents: Mapping[str, bytes]) -> Iterator[int]:
    for content in contents.values():
        kind, children, _ = flower.get_object_head_values_from_object_content(content)
        if kind == Array.__qualname__:
            body = json.loads(flower.get_object_body(content, Array))
            yield from (len(contents[children[index]]) for index in body["arraychunk_ids"])
