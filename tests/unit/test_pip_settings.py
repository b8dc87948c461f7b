from blossomtune import pip_settings


def test_settings_win_as_in_pip():
    listed = "\n".join(
        [
            ":env:.timeout='60'",
            "global.index-url='https://one.example/simple'",
            "install.index-url='https://two.example/simple'",
            "global.timeout='5'",
            "global.cache-dir='/somewhere'",
            "WARNING: not a setting",
        ]
    )
    assert pip_settings.parse_pip_config_list(listed) == {
        "index-url": "https://two.example/simple",
        "timeout": "60",
    }


def test_pip_is_really_asked(monkeypatch):
    monkeypatch.setenv("PIP_TRUSTED_HOST", "pip.example")
    assert pip_settings.read_pip_settings()["trusted-host"] == "pip.example"


def test_folders_are_no_indexes():
    settings = {"extra-index-url": "file:///folder https://extra.example/simple"}
    assert pip_settings.list_index_urls(settings) == [
        pip_settings.DEFAULT_INDEX,
        "https://extra.example/simple",
    ]
