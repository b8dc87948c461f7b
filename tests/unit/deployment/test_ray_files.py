from blossomtune.deployment.ray_files import append_to_file, has_files
from blossomtune.files import compute_file_sha256


def test_a_node_has_files_if_all_of_them_are_equal(tmp_path):
    append_to_file(str(tmp_path / "model/a"), b"one ")
    append_to_file(str(tmp_path / "model/a"), b"two")
    append_to_file(str(tmp_path / "empty"), b"")
    assert (tmp_path / "model/a").read_bytes() == b"one two"
    digests = {str(p): compute_file_sha256(p) for p in (tmp_path / "model/a", tmp_path / "empty")}
    assert has_files(digests)
    assert not has_files(digests | {str(tmp_path / "empty"): "0" * 64})
    assert not has_files(digests | {str(tmp_path / "missing"): "0" * 64})
