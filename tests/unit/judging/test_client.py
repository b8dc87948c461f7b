import json
import threading
import time

import pytest

from blossomtune.errors import UserError
from blossomtune.judging.client import API_KEY_VARIABLE, ChatClient

KEY = "sk-very-secret"


def complete(settings):
    with ChatClient(settings) as client:
        return client.complete({"model": "judge-1", "messages": []})


def get_error(settings):
    with pytest.raises(UserError) as error:
        complete(settings)
    assert KEY not in str(error.value)
    return str(error.value)


def test_reply_of_an_endpoint_is_returned(start_endpoint, build_settings):
    endpoint = start_endpoint("tie")
    choice = complete(build_settings(endpoint.base_url))
    assert choice == {"text": "tie", "finish_reason": "stop"}
    assert endpoint.requests == [({"model": "judge-1", "messages": []}, None)]


def test_key_comes_from_the_environment(start_endpoint, build_settings, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, f"{KEY}\n")
    endpoint = start_endpoint()
    complete(build_settings(endpoint.base_url))
    assert [header for _, header in endpoint.requests] == [f"Bearer {KEY}"]


@pytest.mark.parametrize("key", ["two\nlines", "clé"])
def test_key_that_no_header_can_have_is_an_error_without_the_key(key, build_settings, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    with pytest.raises(UserError, match=API_KEY_VARIABLE) as error:
        complete(build_settings())
    assert key not in str(error.value)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_key_is_not_sent_to_the_target_of_a_redirect(
    status, start_endpoint, build_settings, monkeypatch
):
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    other = start_endpoint()
    target = {"Location": f"{other.base_url}/chat/completions"}
    endpoint = start_endpoint((status, target, b""))
    assert "redirects are not followed" in get_error(build_settings(endpoint.base_url))
    assert (len(endpoint.requests), other.requests) == (1, [])


@pytest.mark.parametrize(
    ("status", "hint"),
    [(400, "extra_body"), (401, API_KEY_VARIABLE), (403, "may not use"), (404, "/v1"), (418, "")],
)
def test_status_that_does_not_pass_is_an_error_at_once(
    status, hint, start_endpoint, build_settings, monkeypatch
):
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    endpoint = start_endpoint((status, {}, f"no model judge-1 for {KEY}".encode()))
    message = get_error(build_settings(endpoint.base_url))
    assert f"{endpoint.base_url}/chat/completions sends HTTP status {status}" in message
    assert hint in message and message.startswith("evaluation.judge.base_url")
    assert ("no model judge-1" in message) == (status in (400, 404))
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_status_that_may_pass_is_tried_again(status, start_endpoint, build_settings):
    replies = [(status, {}, b""), (status, {}, b""), "B"]
    endpoint = start_endpoint(lambda body: replies.pop(0))
    assert complete(build_settings(endpoint.base_url))["text"] == "B"
    endpoint = start_endpoint((status, {}, b""))
    assert f"HTTP status {status}, 3 attempts" in get_error(build_settings(endpoint.base_url))


def test_slow_endpoint_is_an_error_after_the_timeout(start_endpoint, build_settings):
    endpoint = start_endpoint()
    endpoint.delay = 1.0
    start = time.monotonic()
    assert "ReadTimeout" in get_error(build_settings(endpoint.base_url, timeout=0.1))
    assert time.monotonic() - start < 5 and len(endpoint.requests) == 3


def test_unreachable_endpoint_is_an_error(start_endpoint, build_settings):
    endpoint = start_endpoint()
    endpoint.stop()
    message = get_error(build_settings(endpoint.base_url))
    assert "cannot be reached (ConnectError, 3 attempts)" in message


def test_no_proxy_is_used_for_this_machine(start_endpoint, build_settings, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert complete(build_settings(start_endpoint("A").base_url))["text"] == "A"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<html>", b"\xff\xfe", b"null", b"[]", b"{}", b'{"choices": []}'),
        *(b'{"choices": [{"message": "A"}]}', b'{"choices": [{"message": {"content": [1]}}]}'),
    ],
)
def test_answer_that_is_no_chat_completion_is_an_error(content, start_endpoint, build_settings):
    endpoint = start_endpoint((200, {}, content))
    assert "does not send chat completions" in get_error(build_settings(endpoint.base_url))


def test_reply_without_content_is_empty(start_endpoint, build_settings):
    content = {"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]}
    endpoint = start_endpoint((200, {}, json.dumps(content).encode()))
    assert complete(build_settings(endpoint.base_url))["text"] == ""


def test_threads_share_a_client(start_endpoint, build_settings):
    endpoint = start_endpoint(lambda body: body["messages"])
    texts = {}
    with ChatClient(build_settings(endpoint.base_url, parallel_requests=2)) as client:

        def request(text):
            texts[text] = client.complete({"messages": text})["text"]

        threads = [threading.Thread(target=request, args=(str(i),)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == {str(i): str(i) for i in range(6)}
    assert endpoint.most_at_once <= 2
