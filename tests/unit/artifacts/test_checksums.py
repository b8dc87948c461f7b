"""Damaged outputs of a stage are found and named."""

import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.artifacts.checksums import (
    Checksums,
    get_checksums_path,
    verify_outputs,
    write_checksums,
)
from blossomtune.artifacts.files import read_artifact
from blossomtune.errors import UserError

FILES = {
    "manifest.json": b'{"rows": 3}',
    "client_0.parquet": b"rows of a",
    "client_1.parquet": b"",
    "deep/file.txt": b"x",
}
FILE_MAPS = st.dictionaries(
    st.from_regex(r"[a-z]{1,4}(/[a-z]{5})?\.(json|parquet|txt)", fullmatch=True),
    st.binary(max_size=40),
    min_size=1,
    max_size=6,
)


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def output(tmp_path):
    """A folder that stage partition wrote."""
    folder = write_files(tmp_path / "by-domain", FILES)
    write_checksums(folder, "partition")
    return folder


def test_all_files_are_listed_by_path_in_the_folder(output):
    checksums = read_artifact(output.with_name("by-domain.checksums.json"), Checksums)
    assert checksums.stage == "partition"
    assert {name: entry.size for name, entry in checksums.files.items()} == {
        name: len(content) for name, content in FILES.items()
    }
    verify_outputs(output)


@settings(max_examples=60, deadline=None)
@given(files=FILE_MAPS, data=st.data())
def test_any_change_of_any_file_is_found(tmp_path_factory, files, data):
    folder = write_files(tmp_path_factory.mktemp("output"), files)
    write_checksums(folder, "download")
    verify_outputs(folder)
    name = data.draw(st.sampled_from(sorted(files)))
    (folder / name).write_bytes(data.draw(st.binary().filter(lambda c: c != files[name])))
    with pytest.raises(UserError) as error:
        verify_outputs(folder)
    assert str(error.value).startswith(f"{folder / name}: ")


@settings(max_examples=30, deadline=None)
@given(files=FILE_MAPS)
def test_equal_files_give_equal_bytes_whatever_name_and_times(tmp_path_factory, files):
    home = tmp_path_factory.mktemp("home")
    for folder, order in ((home / "a", sorted(files)), (home / "b", sorted(files, reverse=True))):
        write_files(folder, {name: files[name] for name in order})
    for path in (home / "b").rglob("*"):
        os.utime(path, (1, 1))
    for folder in (home / "a", home / "b"):
        write_checksums(folder, "download")
    first, second = (get_checksums_path(home / name).read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(b"rows of b"), "the content has changed"),
        (lambda file: file.write_bytes(b"rows"), "the size has changed from 9 to 4 bytes"),
        (lambda file: file.unlink(), "this file has been removed"),
    ],
)
def test_message_names_file_stage_and_rebuild(output, damage, reason):
    damage(output / "client_0.parquet")
    with pytest.raises(UserError) as error:
        verify_outputs(output)
    assert str(error.value) == (
        f"{output}/client_0.parquet: {reason} since stage partition wrote it\n"
        f"  hint: `snakemake --cores all --forcerun {output}` builds it again"
    )


def test_metadata_only_skips_the_content_of_rows(output):
    (output / "client_0.parquet").write_bytes(b"rows of b")
    verify_outputs(output, metadata_only=True)
    (output / "client_0.parquet").write_bytes(b"rows")
    with pytest.raises(UserError, match="the size has changed"):
        verify_outputs(output, metadata_only=True)
    (output / "client_0.parquet").write_bytes(FILES["client_0.parquet"])
    (output / "manifest.json").write_bytes(b'{"rows": 4}')
    with pytest.raises(UserError, match=r"manifest\.json: the content has changed"):
        verify_outputs(output, metadata_only=True)


def test_file_beside_the_folder_is_covered(tmp_path):
    adapter, history = write_files(tmp_path / "adapter", FILES), tmp_path / "history.json"
    history.write_text("{}")
    write_checksums(adapter, "federate", history)
    verify_outputs(adapter)
    history.write_text("[]")
    with pytest.raises(UserError) as error:
        verify_outputs(adapter)
    assert str(error.value).startswith(f"{history}: the content has changed")


def test_output_may_be_one_file(tmp_path):
    image = tmp_path / "image.sif"
    image.write_bytes(b"image")
    write_checksums(image, "container")
    verify_outputs(image)
    image.write_bytes(b"other")
    with pytest.raises(UserError, match=r"image\.sif: the content has changed"):
        verify_outputs(image)


def test_missing_output_and_missing_checksums_are_named(output):
    get_checksums_path(output).unlink()
    with pytest.raises(UserError, match=r"by-domain\.checksums\.json: this file is needed"):
        verify_outputs(output)
    shutil.rmtree(output)
    with pytest.raises(UserError, match=r"by-domain: this file is needed"):
        verify_outputs(output)


@pytest.mark.parametrize("is_folder_link", [True, False])
def test_hint_names_the_entry_of_the_cache(output, tmp_path, is_folder_link):
    entry = output.rename(tmp_path / "0123_folder")
    if is_folder_link:
        output.symlink_to(entry)
    else:
        output.mkdir()
        for path in entry.iterdir():
            (output / path.name).symlink_to(path)
    verify_outputs(output)
    (output / "client_0.parquet").write_bytes(b"rows of b")
    with pytest.raises(UserError, match=f"remove {entry} from the cache; `snakemake"):
        verify_outputs(output)
