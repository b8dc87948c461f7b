from blossomtune.deployment import host_mounts


def test_only_existing_absolute_paths_are_local(tmp_path):
    assert host_mounts.find_local_path(str(tmp_path)) == tmp_path
    assert host_mounts.find_local_path(f"file://{tmp_path}") == tmp_path
    assert host_mounts.find_local_path("https://pip.example/simple") is None
    assert host_mounts.find_local_path("relative") is None
    assert host_mounts.find_local_path(str(tmp_path / "missing")) is None


def test_containers_see_local_data_certificates_and_pip_files(tmp_path, monkeypatch):
    certificates, data = tmp_path / "ca.pem", tmp_path / "my data"
    certificates.touch()
    data.mkdir()
    monkeypatch.setenv("PIP_CERT", str(certificates))
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:password@pip.example/simple")
    settings = tmp_path / "user" / "pip.conf"
    settings.parent.mkdir()
    settings.write_text("[global]\ntrusted-host = password.example\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.chdir(tmp_path)
    pip_config = tmp_path / "private" / "pip.conf"
    options = host_mounts.apptainer_options({}, ["my data", "missing"], pip_config)
    assert f"--bind {certificates}" in options
    assert f"--bind '{data}'" in options
    assert f"--env PIP_CONFIG_FILE={pip_config}" in options
    assert not any("missing" in option or "password" in option for option in options)
    assert "trusted-host = password.example" in pip_config.read_text().splitlines()
    assert "pip.example/simple" not in pip_config.read_text()
    assert pip_config.stat().st_mode & 0o777 == 0o600


def test_settings_for_other_containers_are_removed():
    kept = {"PATH": "/bin", "APPTAINER_TMPDIR": "/scratch", "HTTPS_PROXY": "http://proxy.example"}
    dropped = {"APPTAINERENV_X": "1", "SINGULARITY_BINDPATH": "/x", "APPTAINER_MOUNT": "/y"}
    assert host_mounts.strip_container_settings(kept | dropped) == kept
