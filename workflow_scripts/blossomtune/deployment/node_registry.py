"""Register SuperNodes' keys with a SuperLink, and follow their files while a run goes on."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from blossomtune.deployment import flower_internal as flower
from blossomtune.errors import UserError
from blossomtune.public_keys import compute_fingerprint, load_public_key

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class NodeRegistry:
    """Nodes of the clients' keys.

    A file that is replaced replaces the client's key. One that is removed revokes it.

    Args:
        control: Client of the SuperLink's Control API.
        key_files: Files of public keys, by client.

    Attributes:
        node_ids: Node id by client when the run started.
        fingerprints: Fingerprint of the client's present or last key, by these node ids.
    """

    def __init__(self, control: flower.ControlHttpClient, key_files: Sequence[Path]) -> None:
        self._control, self._key_files = control, key_files
        self._versions = [_get_version(file) for file in key_files]
        self._keys: list[bytes | None] = [_load_key(file) for file in key_files]
        self.node_ids = {
            client: self._register(key) for client, key in enumerate(self._keys) if key
        }
        self.fingerprints = {
            self.node_ids[client]: _compute_fingerprint(key)
            for client, key in enumerate(self._keys)
            if key
        }
        self._current: dict[int, int | None] = dict(self.node_ids)
        self._next_poll = time.monotonic()

    def poll_changes(self) -> dict[int, int | None]:
        """Return the new node id of each client whose key has changed; None if it was revoked."""
        if time.monotonic() < self._next_poll:
            return {}
        self._next_poll = time.monotonic() + POLL_SECONDS
        changes = {}
        for client, file in enumerate(self._key_files):
            if (version := _get_version(file)) == self._versions[client]:
                continue
            self._versions[client] = version
            try:
                key = _load_key(file) if version else None
            except (UserError, OSError) as error:  # it may be half written
                logger.warning("the key of client %d stays: %s", client, error)
                continue
            if key != self._keys[client]:
                self._keys[client] = key
                changes[client] = self._replace(client, key)
        return changes

    def _replace(self, client: int, key: bytes | None) -> int | None:
        """Unregister a client's node and register that of another key; return the new node id."""
        if old_node := self._current[client]:
            self._control.UnregisterNode(flower.UnregisterNodeRequest(node_id=old_node))
        new_node = None
        try:
            new_node = self._register(key) if key else None
        except httpx.HTTPStatusError:
            logger.warning("the new key of client %d has been in use before", client)
        if key and new_node:
            self.fingerprints[self.node_ids[client]] = _compute_fingerprint(key)
        logger.info("the key of client %d was %s", client, "replaced" if new_node else "revoked")
        self._current[client] = new_node
        return new_node

    def _register(self, key: bytes) -> int:
        request = flower.RegisterNodeRequest(public_key=key)
        return self._control.RegisterNode(request).node_id


def _load_key(file: Path) -> bytes:
    return flower.public_key_to_bytes(load_public_key(file))


def _compute_fingerprint(key: bytes) -> str:
    return compute_fingerprint(flower.bytes_to_public_key(key))


def _get_version(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or replaced; None if there is none."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
