"""Client of an endpoint with OpenAI's chat completions."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from blossomtune.config.judge import is_loopback
from blossomtune.data.sources.retry import UnreachableError, call_with_retries
from blossomtune.errors import UserError, abbreviate

API_KEY_VARIABLE = "BLOSSOMTUNE_JUDGE_API_KEY"
"""Environment variable with the key of the endpoint; it is read nowhere else."""

_TRANSIENT_ERRORS = (httpx.TransportError, httpx.HTTPStatusError)
_KEPT = "run again when it works; requests that were answered are not sent again"
_FIELDS_HINT = "evaluation.judge.extra_body replaces fields of the request; null leaves a field out"
_HINTS_BY_STATUS = {
    400: _FIELDS_HINT,
    401: f"set the environment variable {API_KEY_VARIABLE} to a valid key of this endpoint",
    403: f"the key in the environment variable {API_KEY_VARIABLE} may not use this model",
    404: "check evaluation.judge.base_url, which often ends with /v1, and evaluation.judge.model",
    422: _FIELDS_HINT,
}
_MAX_MESSAGE = 300


class ChatClient:
    """Connection to the endpoint of a judge model. Threads can share it.

    Redirects are not followed, so the key is sent to no other host.

    Args:
        settings: ``base_url``, ``timeout`` and ``parallel_requests`` of ``evaluation.judge``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._url = f"{settings['base_url']}/chat/completions"
        self._key = _read_api_key()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
            timeout=settings["timeout"],
            limits=httpx.Limits(max_connections=settings["parallel_requests"]),
            trust_env=not is_loopback(self._url),  # no proxy to this machine
        )

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: Any) -> None:
        self._client.close()

    def complete(self, body: Mapping[str, Any]) -> dict[str, str | None]:
        """Send a request, and repeat it after errors that may pass.

        Args:
            body: JSON object.

        Returns:
            ``text`` of the first choice, and its ``finish_reason``.

        Raises:
            UserError: If the endpoint cannot be reached, refuses the request, or sends something
                other than a chat completion.
        """
        try:
            response = call_with_retries(lambda: self._post(body), _TRANSIENT_ERRORS)
        except UnreachableError as error:
            raise self._error(f"cannot be reached ({error})", _KEPT) from None
        except httpx.HTTPStatusError as error:
            raise self._refusal(error.response) from None
        try:
            choice = response.json()["choices"][0]
            text, reason = choice["message"].get("content"), choice.get("finish_reason")
            if not isinstance(text, str | None) or not isinstance(reason, str | None):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._error(
                "does not send chat completions",
                "check evaluation.judge.base_url, which often ends with /v1",
            ) from None
        return {"text": text or "", "finish_reason": reason}

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        return self._client.post(self._url, json=body).raise_for_status()

    def _refusal(self, response: httpx.Response) -> UserError:
        """Return the error for a status that does not pass; a key in the message is hidden."""
        status, reason = response.status_code, ""
        if response.is_redirect:
            target = urlsplit(response.headers.get("location", "")).hostname
            hint = f"redirects are not followed; set the address itself as base_url ({target})"
            return self._error(f"sends HTTP status {status}, a redirect", hint)
        if status in (400, 404, 422):
            text = response.text.replace(self._key, "***") if self._key else response.text
            reason = f": {abbreviate(text, _MAX_MESSAGE)}"
        return self._error(f"sends HTTP status {status}{reason}", _HINTS_BY_STATUS.get(status))

    def _error(self, reason: str, hint: str | None) -> UserError:
        return UserError(f"evaluation.judge.base_url: {self._url} {reason}", hint)


def _read_api_key() -> str:
    """Return the key of the environment, or an empty text."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"{API_KEY_VARIABLE}: the key has characters that no HTTP header can have",
            "it is one line of ASCII characters",
        )
    return key
