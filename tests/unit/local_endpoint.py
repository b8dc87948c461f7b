"""Serve chat completions on the loopback address, as OpenAI's interface does."""

import contextlib
import json
import threading
import time

from local_server import LocalHandler, LocalServer


def build_completion(text, finish_reason="stop"):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


class LocalEndpoint(LocalServer):
    """An endpoint whose replies the test decides.

    Attributes:
        reply: function of a request's body to an answer: text, or status, headers and bytes.
        requests: body and Authorization header of each request.
        delay: seconds before each answer.
        most_at_once: largest number of requests that were answered at the same time.
    """

    def __init__(self, reply) -> None:
        self.reply, self.requests, self.delay = reply, [], 0.0
        self.most_at_once, self._active, self._lock = 0, 0, threading.Lock()
        outer = self

        class Handler(LocalHandler):
            def do_POST(self):  # noqa: N802
                body = json.loads(self.read_body())
                with outer._lock:
                    outer.requests.append((body, self.headers.get("Authorization")))
                    outer._active += 1
                    outer.most_at_once = max(outer.most_at_once, outer._active)
                time.sleep(outer.delay)
                answer = (
                    outer.reply(body) if self.path == "/v1/chat/completions" else (404, {}, b"")
                )
                with outer._lock:
                    outer._active -= 1
                if isinstance(answer, str):
                    content = json.dumps(build_completion(answer)).encode()
                    answer = (200, {"Content-Type": "application/json"}, content)
                status, headers, content = answer
                with contextlib.suppress(ConnectionError):  # the client has given up
                    self.answer(status, content, headers)

        self.start(Handler)
        self.base_url = f"{self.url}/v1"
