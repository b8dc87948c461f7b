"""Serve one repository that files are pushed to, as a Hugging Face hub on the loopback address."""

import base64
import hashlib
import json

from local_server import LocalHandler, LocalServer

LARGE = (".safetensors", ".gguf")


class PushHub(LocalServer):
    """A repository that does not exist before it is created.

    Attributes:
        files: content by branch and path.
        commits: number of commits.
        private: visibility; None before the repository is created.
        refusal: HTTP status that is sent in reply to every request, or None.
        tokens: values of the header Authorization.
    """

    def __init__(self, repo: str) -> None:
        self.repo = repo
        self.files: dict[str, dict[str, bytes]] = {"main": {}}
        self.commits, self.private, self.refusal = 0, None, None
        self.large: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        outer = self

        class Handler(LocalHandler):
            def do_GET(self):  # noqa: N802
                body = self.read_body()
                outer.tokens.add(self.headers.get("Authorization"))
                status, value = outer.reply(self.path.partition("?")[0], body)
                code = {"X-Error-Code": "RepoNotFound"} if status == 404 else {}
                headers = {"Content-Type": "application/json", **code}
                self.answer(status, json.dumps(value).encode(), headers)

            do_POST = do_PUT = do_GET  # noqa: N815

        self.start(Handler)

    def reply(self, path: str, body: bytes) -> tuple[int, object]:
        """Return status and JSON value of the reply to a request."""
        api, last = f"/api/models/{self.repo}", path.rpartition("/")[2]
        if self.refusal is not None:
            return self.refusal, {"error": "no"}
        if path == "/api/repos/create":
            self.private = json.loads(body)["visibility"] == "private"
            return 200, {"url": f"{self.url}/{self.repo}"}
        if path.startswith("/put/"):
            self.large[last] = body
            return 200, {}
        if path in ("/api/validate-yaml", "/verify"):
            return 200, {"warnings": [], "errors": []}
        if self.private is None:
            return 404, {"error": "no such repository"}
        if path == api or path == f"{api}/revision/{last}":
            return 200, {"id": self.repo, "sha": f"{self.commits:040x}", "private": self.private}
        if path == f"{api}/branch/{last}":
            self.files[last] = dict(self.files["main"])
            return 200, {}
        if path == f"{api}/preupload/{last}":
            return 200, {"files": [self.plan(f["path"], last) for f in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {
                "transfer": "basic",
                "objects": [*map(self.href, json.loads(body)["objects"])],
            }
        if path == f"{api}/commit/{last}":
            self.commit(last, [json.loads(line) for line in body.splitlines()])
            oid = f"{self.commits:040x}"
            return 200, {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.url}/{self.repo}/commit/{oid}",
            }
        return 404, {"error": path}

    def plan(self, path: str, branch: str) -> dict:
        """Return how a file is to be uploaded, and the digest of what is there."""
        is_large, content = path.endswith(LARGE), self.files[branch].get(path)
        oid = None
        if content is not None:
            blob = b"blob %d\0" % len(content) + content
            oid = (
                hashlib.sha256(content).hexdigest() if is_large else hashlib.sha1(blob).hexdigest()
            )
        mode = "lfs" if is_large else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def href(self, item: dict) -> dict:
        """Return where a large file is to be sent."""
        actions = {
            "upload": {"href": f"{self.url}/put/{item['oid']}", "header": {}},
            "verify": {"href": f"{self.url}/verify", "header": {}},
        }
        return item | {"authenticated": True, "actions": actions}

    def commit(self, branch: str, lines: list[dict]) -> None:
        """Take the files of a commit."""
        self.commits += 1
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[branch][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[branch][value["path"]] = self.large[value["oid"]]
