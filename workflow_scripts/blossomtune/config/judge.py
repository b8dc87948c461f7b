"""Define the configuration of the comparison by a judge model."""

import ipaddress
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from blossomtune.config.base import Block, NonEmptyStr, PositiveFloat, PositiveInt

RESERVED_FIELDS = {"model", "messages", "stream", "n"}
"""Fields of a request that ``extra_body`` cannot replace."""

DEFAULT_INSTRUCTIONS = (
    "Compare two answers to the same request. Prefer the one that is more correct and does more "
    "exactly what the request asks for. Its length, its style and its place do not count."
)


def is_loopback(url: str) -> bool:
    """Return whether the host of an address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _validate_base_url(url: str) -> str:
    """Return an address without a slash at its end; raise ValueError if it cannot be one."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.scheme in ("http", "https") and parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isprintable() or any(sign in url for sign in "@?# "):
        raise ValueError(
            "not the address of an endpoint; allowed: https:// or http://, host and path, such as "
            "https://example.org/v1, without user, password, query and key"
        )
    return url.rstrip("/")


def _validate_extra_body(fields: dict[str, Any]) -> dict[str, Any]:
    if reserved := sorted(fields.keys() & RESERVED_FIELDS):
        raise ValueError(f"{reserved[0]!r} cannot be set here; it is set by the workflow")
    return fields


class JudgeSettings(Block):
    """Pairwise comparison of generated answers by a judge model.

    The federated model is compared with the base and with each baseline, in both orders. The
    endpoint gets prompts, right answers and generated answers. An API key comes from the
    environment variable `BLOSSOMTUNE_JUDGE_API_KEY` only. See [judge model](judge-model.md).
    """

    base_url: Annotated[NonEmptyStr, AfterValidator(_validate_base_url)] = Field(
        description="Address of an endpoint with OpenAI's interface, such as "
        "`http://127.0.0.1:8000/v1`. Requests go to `/chat/completions` below it."
    )
    model: NonEmptyStr = Field(description="Name of the judge model at the endpoint.")
    rows: PositiveInt = Field(
        64,
        description="Maximum number of rows to compare, of those with generated answers "
        "(`evaluation.generation.rows`). Each row takes two requests per pair of models; equal "
        "answers are a tie and take none.",
    )
    instructions: NonEmptyStr = Field(
        DEFAULT_INSTRUCTIONS,
        description="Criteria of the comparison. The texts to compare and the form of the verdict "
        "follow them in each request.",
    )
    references: bool = Field(True, description="Show the right answers of the row to the judge.")
    max_tokens: PositiveInt = Field(
        16,
        description="Maximum number of tokens of a reply. Its last line is the verdict, so a model "
        "that reasons first needs more. A reply that is cut off is unreadable.",
    )
    extra_body: Annotated[dict[str, Any], AfterValidator(_validate_extra_body)] = Field(
        {},
        description="Other fields of each request. They replace `temperature: 0`, `seed` and "
        "`max_tokens`, too; null leaves a field out.",
    )
    parallel_requests: PositiveInt = Field(4, description="Maximum number of requests at once.")
    timeout: PositiveFloat = Field(
        120.0, description="Seconds without an answer after which a request is repeated."
    )
    allow_http: bool = Field(
        False,
        description="Allow `http://` for other hosts than this machine: key and texts are then "
        "sent unencrypted.",
    )

    @model_validator(mode="after")
    def _require_encryption(self) -> "JudgeSettings":
        is_plain = urlsplit(self.base_url).scheme == "http"
        if is_plain and not (self.allow_http or is_loopback(self.base_url)):
            raise ValueError(
                "base_url: http:// sends key and texts unencrypted to another host; use https://, "
                "or set allow_http: true"
            )
        return self
