from blossomtune.deployment import host_mounts


def test_local_paths_are_those_that_exist(tmp_path):
    assert host_mounts.find_local_path(str(tmp_path)) == tmp_path
    assert host_mounts.find_local_path(f"file://{tmp_path}") == tmp_path
    assert host_mounts.find_local_path("https://pip.example/simple") is None
    assert host_mounts.find_local_path("relative") is None
    assert host_mounts.find_local_path(str(tmp_path / "missing")) is None


def test_containers_see_sources_certificates_and_what_the_user_binds(tmp_path, monkeypatch):
    certificates, data = tmp_path / "ca.pem", tmp_path / "data"
    certificates.touch()
    data.mkdir()
    monkeypatch.setenv("PIP_CERT", str(certificates))
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    monkeypatch.chdir(tmp_path)
    given = host_mounts.container_environment({"APPTAINER_BIND": "/user"}, ["data", "missing"])
    assert given["PIP_INDEX_URL"] == "https://pip.example/simple"
    binds = given["APPTAINER_BIND"].split(",")
    assert binds[0] == "/user"
    assert {str(certificates), str(data)} <= set(binds)
    assert str(tmp_path / "missing") not in binds


def test_a_build_gets_no_variables_or_mounts_of_other_containers():
    kept = {"PATH": "/bin", "APPTAINER_TMPDIR": "/scratch", "HTTPS_PROXY": "http://proxy.example"}
    dropped = {"APPTAINERENV_X": "1", "SINGULARITY_BINDPATH": "/x", "APPTAINER_MOUNT": "/y"}
    assert host_mounts.strip_container_settings(kept | dropped) == kept
