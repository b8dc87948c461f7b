"""Tests of retries."""

import pytest
import requests
import tenacity

from blossomtune.data.sources import retry


@pytest.fixture
def delays(monkeypatch):
    """Record delays instead of sleeping."""
    recorded = []
    monkeypatch.setattr(retry, "INITIAL_DELAY", 1.0)
    monkeypatch.setattr(tenacity.nap.time, "sleep", recorded.append)
    return recorded


def make_action(*outcomes):
    """Return a function that raises or returns one outcome per call."""
    remaining = iter(outcomes)

    def action():
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return action


def make_http_error(status, **headers):
    response = requests.Response()
    response.headers.update(headers)
    response.status_code = status
    return requests.HTTPError("https://name:secret@host", response=response)


def test_delay_doubles_before_each_attempt(delays):
    action = make_action(requests.Timeout(), make_http_error(429), "content")
    assert retry.call_with_retries(action, (requests.RequestException,)) == "content"
    assert delays == [1, 2]


@pytest.mark.parametrize(
    ("header", "delay"),
    [("7", 7), ("0", 1), ("86400", 60), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("", 1), ("-5", 1)],
)
def test_delay_is_no_less_than_the_server_asks_for(header, delay, delays):
    error = make_http_error(429, **{"Retry-After": header})
    retry.call_with_retries(make_action(error, "content"), (requests.RequestException,))
    assert delays == [delay]


def test_last_failure_is_reported_without_its_text(delays):
    action = make_action(*map(make_http_error, (500, 502, 503)))
    with pytest.raises(retry.UnreachableError) as error:
        retry.call_with_retries(action, (requests.HTTPError,))
    assert str(error.value) == "HTTP status 503, 3 attempts"
    assert error.value.__cause__.response.status_code == 503


@pytest.mark.parametrize("error", [make_http_error(404), ValueError("no network error")])
def test_permanent_error_is_raised_at_once(delays, error):
    with pytest.raises(type(error)) as raised:
        retry.call_with_retries(make_action(error), (requests.RequestException,))
    assert raised.value is error
    assert delays == []
