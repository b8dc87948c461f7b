from blossomtune.deployment import host_mounts


def test_only_existing_absolute_paths_are_local(tmp_path):
    assert host_mounts.find_local_path(str(tmp_path)) == tmp_path
    assert host_mounts.find_local_path(f"file://{tmp_path}") == tmp_path
    assert host_mounts.find_local_path("https://pip.example/simple") is None
    assert host_mounts.find_local_path("relative") is None
    assert host_mounts.find_local_path(str(tmp_path / "missing")) is None


def test_sources_certificates_and_user_binds_are_mounted(tmp_path, monkeypatch):
    certificates, data = tmp_path / "ca.pem", tmp_path / "data"
    certificates.touch()
    data.mkdir()
    monkeypatch.setenv("PIP_CERT", str(certificates))
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    monkeypatch.chdir(tmp_path)
    variables = host_mounts.container_environment({"APPTAINER_BIND": "/user"}, ["data", "missing"])
    assert variables["PIP_INDEX_URL"] == "https://pip.example/simple"
    binds = variables["APPTAINER_BIND"].split(",")
    assert binds[0] == "/user"
    assert {str(certificates), str(data)} <= set(binds)
    assert str(tmp_path / "missing") not in binds


def test_settings_for_other_containers_are_removed():
    kept = {"PATH": "/bin", "APPTAINER_TMPDIR": "/scratch", "HTTPS_PROXY": "http://proxy.example"}
    dropped = {"APPTAINERENV_X": "1", "SINGULARITY_BINDPATH": "/x", "APPTAINER_MOUNT": "/y"}
    assert host_mounts.strip_container_settings(kept | dropped) == kept
