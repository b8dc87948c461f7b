"""Tests of the settings of a judge model."""

import pytest
from pydantic import ValidationError

from blossomtune.config.evaluation import EvaluationSettings
from blossomtune.config.judge import JudgeSettings


def build(base_url="https://a.example/v1", **keys):
    return JudgeSettings.model_validate({"base_url": base_url, "model": "a"} | keys)


@pytest.mark.parametrize(
    "url",
    [
        *("https://a.example/v1", "https://a.example:8443", "http://localhost:8000/v1"),
        *("http://127.0.0.1:8000/v1", "http://127.9.9.9/v1", "http://[::1]:8000/v1"),
    ],
)
def test_address_is_kept_without_a_slash_at_its_end(url):
    assert build(f"{url}/").base_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example/v1", "ftp://a.example", "https://", "https://a.example:99999/v1"),
        *("https://user:pass@a.example/v1", "https://a.example/v1?key=1", "https://a.example/#a"),
        *("https://a.example/v 1", "https://a.example/\n", "file:///etc/passwd", "https://[::1"),
    ],
)
def test_address_that_is_none_or_holds_a_secret_is_an_error(url):
    with pytest.raises(ValidationError, match="base_url"):
        build(url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://a.example/v1", "HTTP://a.example/v1", "http://10.0.0.1/v1"),
        *("http://localhost.a.example", "http://127.0.0.1.a.example"),
    ],
)
def test_other_hosts_need_encryption_unless_allowed(url):
    with pytest.raises(ValidationError, match="allow_http"):
        build(url)
    assert build(url, allow_http=True).base_url == url


@pytest.mark.parametrize("field", ["messages", "model", "stream", "n"])
def test_fields_of_the_workflow_cannot_be_replaced(field):
    with pytest.raises(ValidationError, match=f"'{field}' cannot be set"):
        build(extra_body={field: 1})


def test_judge_needs_generated_answers():
    judge = {"base_url": "https://a.example/v1", "model": "a"}
    EvaluationSettings.model_validate({"judge": judge})
    with pytest.raises(ValidationError, match=r"generation\.rows is 0"):
        EvaluationSettings.model_validate({"judge": judge, "generation": {"rows": 0}})
