from blossomtune import pip_settings


def test_precedence_is_that_of_pip():
    output = "\n".join(
        [
            ":env:.timeout='60'",
            "global.index-url='https://one.example/simple'",
            "install.index-url='https://two.example/simple'",
            "global.timeout='5'",
            "global.cache-dir='/somewhere'",
            "WARNING: not a setting",
        ]
    )
    assert pip_settings.parse_pip_config_list(output) == {
        "index-url": "https://two.example/simple",
        "timeout": "60",
    }


def test_settings_come_from_pip_itself(monkeypatch):
    monkeypatch.setenv("PIP_TRUSTED_HOST", "pip.example")
    assert pip_settings.read_pip_settings()["trusted-host"] == "pip.example"


def test_folders_are_not_index_urls():
    settings = {"extra-index-url": "file:///folder https://extra.example/simple"}
    assert pip_settings.list_index_urls(settings) == [
        pip_settings.DEFAULT_INDEX,
        "https://extra.example/simple",
    ]


def test_settings_of_files_are_written_without_those_of_variables(tmp_path, monkeypatch):
    settings = tmp_path / "pip.conf"
    indexes = "https://a.example\n  https://b.example"
    settings.write_text(f"[global]\ntimeout = 7\nextra-index-url =\n  {indexes}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:password@pip.example/simple")
    merged = tmp_path / "below" / "merged.conf"
    assert pip_settings.write_pip_config(merged)
    lines = merged.read_text().splitlines()
    assert "timeout = 7" in lines
    assert "extra-index-url = https://a.example https://b.example" in lines
    assert "password" not in merged.read_text()
    monkeypatch.setenv("PIP_CONFIG_FILE", str(merged))
    assert pip_settings.read_pip_settings()["timeout"] == "7"
