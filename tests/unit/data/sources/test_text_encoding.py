"""Tests of the detection of text encodings."""

import codecs
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.sources import text_encoding
from blossomtune.data.sources.text_encoding import detect_encoding, open_text
from blossomtune.errors import UserError

GERMAN = "Müller;schön\r\nSpaß;5 €\r\n"


def detect(path, content, stated=None):
    path.write_bytes(content)
    encoding = detect_encoding(path, stated)
    with open_text(path, encoding) as text:
        return encoding, text.read()


@pytest.mark.parametrize(
    ("written", "detected"),
    [
        ("ascii", "utf-8"),
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
@pytest.mark.parametrize("stated", [False, True])
def test_text_is_read_as_it_was_written(tmp_path, written, detected, stated):
    text = "plain\n" if written == "ascii" else GERMAN
    content = text.encode(written)
    assert detect(tmp_path / "a", content, written if stated else None)[1] == text
    assert detect(tmp_path / "a", content)[0] == detected
    assert detect(tmp_path / "a.gz", gzip.compress(content)) == (detected, text)


def test_big_endian_byte_order_mark_is_detected(tmp_path):
    content = codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be")
    for stated in (None, "utf-16", "utf-16-be"):
        assert detect(tmp_path / "a", content, stated) == ("utf-16", GERMAN)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_unicode_text_is_never_misread(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("t") / "a"
    text = text.lstrip("\ufeff")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert detect(path, text.encode(encoding))[1] == text
        assert detect(path, text.encode(encoding), encoding)[1] == text


@pytest.mark.parametrize(
    ("stated", "content", "message"),
    [
        ("cp1252", GERMAN.encode(), "a is not cp1252; it is utf-8"),
        ("gb18030", "\ufeffa".encode(), "a is not gb18030; it is utf-8-sig by its first bytes"),
        ("cp1252", GERMAN.encode("utf-16"), "a is not cp1252; it is utf-16 by its first bytes"),
        ("utf-8", GERMAN.encode("utf-16-le"), "a is not utf-8; it is utf-16-le by its first"),
        ("utf-16", b"plain", "a is not utf-16; it is utf-8"),
        ("utf-16", GERMAN.encode("cp1252"), "a is not utf-16"),
        ("utf8", b"a\nb\n" + GERMAN.encode("cp1252"),
         r"a is not utf-8 \(format.encoding\): line 3 has the bytes 0xfc"),
        ("ascii", GERMAN.encode("cp1252"), r"a is not ascii \(format.encoding\): line 1 has"),
        ("cp1252", b"a\n\x81", r"a is not cp1252 \(format.encoding\): line 2 has the bytes 0x81"),
    ],
)  # fmt: skip
def test_wrong_stated_encoding_is_rejected(tmp_path, stated, content, message):
    with pytest.raises(UserError, match=f"^format.encoding: {message}"):
        detect(tmp_path / "a", content, stated)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Dvořák šel do města".encode("cp1250"),
         "format.encoding: a is not utf-8, and which encoding it has is not clear: "
         "cp1250 reads 'Dvořák šel do města', .*cp1252 reads 'Dvoøák"),
        (GERMAN.encode() * 9 + b"M\xfcller\n" + GERMAN.encode(),
         "format.encoding: a is utf-8 but for line 19 with the bytes 0xfc"),
        (GERMAN.encode("utf-16")[:-1], r"format.encoding: a is not utf-16 \(by its first bytes\)"),
        (b"PAR1\0\0\xff\xfe\0\1", "a is not text"),
    ],
)  # fmt: skip
def test_unclear_encoding_is_rejected(tmp_path, content, message):
    with pytest.raises(UserError, match=f"^{message}"):
        detect(tmp_path / "a", content)


def test_encodings_that_error_messages_try_exist():
    for encoding in text_encoding._LEGACY_ENCODINGS:
        codecs.lookup(encoding)


def test_error_in_a_later_block_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_encoding, "_BUFFER_SIZE", 7)
    content = "ü\n".encode() * 100 + b"\xff\n"
    with pytest.raises(UserError, match="line 101 with the bytes 0xff"):
        detect(tmp_path / "a", content)
