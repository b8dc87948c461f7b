"""Serve one repository as a Hugging Face hub on the loopback address."""

import hashlib
import json
from urllib.parse import unquote

from local_server import LocalHandler, LocalServer

COMMIT = "c0ffee" * 6 + "c0ff"


class LocalHub(LocalServer):
    """A repository whose revision v1 is `COMMIT`.

    Attributes:
        refusal: HTTP status and the hub's error code, sent instead of content.
        refused: `refusal` applies to paths that contain this text.
        requests: path and Authorization header of each request.
        bytes_sent: bytes of content per file.
    """

    def __init__(self, kind: str, repo: str, files: dict[str, bytes]) -> None:
        self.files, self.repo = files, repo
        self.refusal: tuple[int, str] | None = None
        self.refused = ""
        self.requests: list[tuple[str, str | None]] = []
        self.bytes_sent: dict[str, int] = {}
        self.api = f"/api/{kind}/{repo}"
        self.content = f"{'' if kind == 'models' else f'/{kind}'}/{repo}/resolve/{COMMIT}/"
        outer = self

        class Handler(LocalHandler):
            def do_GET(self):  # noqa: N802
                path = unquote(self.path.partition("?")[0])
                outer.requests.append((path, self.headers.get("Authorization")))
                body = self.read_body()
                name = path.removeprefix(outer.content)
                folder = path.partition(f"{outer.api}/tree/{COMMIT}")[2].strip("/")
                if outer.refusal and outer.refused in path:
                    self.answer(outer.refusal[0], b"", {"X-Error-Code": outer.refusal[1]})
                elif path in (f"{outer.api}/revision/v1", f"{outer.api}/revision/{COMMIT}"):
                    self.json(outer.info())
                elif path.startswith(f"{outer.api}/tree/{COMMIT}"):
                    self.json(outer.tree(folder, "recursive=true" in self.path.lower()))
                elif path == f"{outer.api}/paths-info/{COMMIT}":
                    paths = json.loads(body)["paths"]
                    self.json([e for e in outer.tree("", True) if e["path"] in paths])
                elif name in outer.files:
                    self.file(name)
                elif path.startswith(outer.content):
                    self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                else:
                    self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})

            do_HEAD = do_POST = do_GET  # noqa: N815

            def file(self, name):
                content = outer.files[name]
                headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
                headers |= {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
                status, whole = 200, len(content)
                if byte_range := (self.headers.get("Range") or "").removeprefix("bytes="):
                    start, _, end = byte_range.partition("-")
                    last = min(int(end or whole), whole - 1)
                    status, content = 206, content[int(start) : last + 1]
                    headers["Content-Range"] = f"bytes {start}-{last}/{whole}"
                if self.command == "GET":
                    outer.bytes_sent[name] = outer.bytes_sent.get(name, 0) + len(content)
                self.answer(status, content, headers)

            def json(self, value):
                body = json.dumps(value).encode()
                self.answer(200, body, {"Content-Type": "application/json"})

        self.start(Handler)

    def info(self) -> dict:
        siblings = [{"rfilename": n, "size": len(content)} for n, content in self.files.items()]
        card = {"license": "apache-2.0"}
        return {"id": self.repo, "sha": COMMIT, "siblings": siblings, "cardData": card}

    def tree(self, folder: str, recursive: bool) -> list[dict]:
        """Return a folder's entries as the hub lists them."""
        entries = {}
        for name, content in self.files.items():
            inside = f"{folder}/" if folder else ""
            if not name.startswith(inside):
                continue
            oid = hashlib.sha1(content).hexdigest()
            rest = name.removeprefix(inside).split("/")
            for depth in range(1, len(rest) if recursive else min(len(rest), 2)):
                path = inside + "/".join(rest[:depth])
                entries[path] = {"type": "directory", "path": path, "size": 0, "oid": "0"}
            if recursive or len(rest) == 1:
                size = len(content)
                entries[name] = {"type": "file", "path": name, "size": size, "oid": oid}
        return list(entries.values())
