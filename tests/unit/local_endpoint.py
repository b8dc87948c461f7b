"""Serve chat completions on the loopback address, as OpenAI's interface does."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def build_completion(text, finish_reason="stop"):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


class LocalEndpoint:
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

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
                    self.send_response(status)
                    for key, value in {**headers, "Content-Length": str(len(content))}.items():
                        self.send_header(key, value)
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
