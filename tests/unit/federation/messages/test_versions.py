import pytest
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.federation.messages.versions import (
    check_client_versions,
    decode_versions,
    encode_versions,
)
from blossomtune.package_versions import get_package_versions
from blossomtune.version import __version__


def reply(**versions):
    """Return a client's reply with some of its versions replaced."""
    return RecordDict({"versions": ConfigRecord({**encode_versions()} | versions)})


def test_equal_versions_are_accepted_without_a_word(caplog):
    check_client_versions(reply(), 0)
    assert caplog.text == ""


def test_another_version_of_this_package_is_refused_with_both_and_what_to_install():
    with pytest.raises(ValueError, match=r"client 3 has blossomtune 9\.1, and the server") as error:
        check_client_versions(reply(blossomtune="9.1"), 3)
    assert f"install blossomtune-{__version__}-py3-none-any.whl at the client" in str(error.value)


def test_other_packages_are_warned_of_by_name(caplog):
    torch = get_package_versions()["torch"]
    check_client_versions(reply(torch="1.0+cpu", peft="0.1"), 3)
    assert f"client 3 has torch 1.0+cpu, and the server has {torch}" in caplog.text
    assert "client 3 has peft 0.1" in caplog.text and len(caplog.records) == 2


def test_build_of_a_package_is_no_difference(caplog):
    public = get_package_versions()["torch"].partition("+")[0]
    check_client_versions(reply(torch=f"{public}+cu999"), 3)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RecordDict(), "does not say which version of blossomtune"),
        (RecordDict({"versions": ConfigRecord({"blossomtune": "1"})}), "says versions of"),
        (reply(more="1"), "says versions of"),
        (reply(torch=1.0), "its version of torch is 1.0"),
        (reply(torch=""), "its version of torch is ''"),
        (reply(torch="1\x1b[31m"), r"its version of torch is '1\\x1b\[31m'"),
        (reply(blossomtune="1" * 10**6), "its version of blossomtune is '1+"),
    ],
)
def test_malformed_versions_are_refused(content, message):
    with pytest.raises(ValueError, match=message) as error:
        check_client_versions(content, 0)
    assert len(str(error.value)) < 200


@given(
    record=st.dictionaries(st.sampled_from([*encode_versions()]) | st.text(), st.text()),
    is_complete=st.booleans(),
)
def test_any_texts_are_versions_or_an_error(record, is_complete):
    content = reply(**record) if is_complete else RecordDict({"versions": ConfigRecord(record)})
    try:
        versions = decode_versions(content)
    except ValueError as error:
        assert len(str(error)) < 1000
        return
    assert all(version.isascii() and version.isprintable() for version in versions.values())
