"""Tests of the errors of sources."""

import pytest
from config_samples import RAW, SOURCE, get_errors, get_errors_of_blocks, set_values

from blossomtune.config.load import load_configuration


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://u:p@example.org/a", ".source.url: 'http://u:p@example.org/a' is not allowed; "
         "allowed: an address that starts with https:// or http://, without user and password"),
        ("https://example.org/a?v=1&X-Amz-Signature=abc", ".source.url: the part "
         "'X-Amz-Signature' of the address looks like a secret, and configurations are recorded; "
         "download the file yourself, kind: path"),
    ],
)  # fmt: skip
def test_secrets_in_addresses_are_rejected(url, message):
    source = {"kind": "url", "url": url, "sha256": "0" * 64}
    assert get_errors_of_blocks(datasets={"d": {"source": source}}) == [f"datasets.d{message}"]
    load_configuration(
        {
            **RAW,
            "datasets": RAW["datasets"] | {"d": {"source": source | {"url": "https://a/b?v=1"}}},
        }
    )


def test_keys_depend_on_the_kind_of_source():
    source = {"kind": "path", "path": "model", "sha256": "x"}
    assert get_errors(set_values(RAW, {SOURCE: source})) == [
        f"{SOURCE}.sha256: unknown key (value 'x'); allowed: kind, path"
    ]
    load_configuration(
        set_values(RAW, {SOURCE: {"kind": "hub", "repo": "owner/name", "revision": "main"}})
    )
