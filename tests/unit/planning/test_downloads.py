"""Downloads are listed with the sizes that their sources tell."""

from blossomtune.planning.downloads import format_downloads, list_downloads

PATH = {"kind": "path", "path": "here"}


def test_fetched_blocks_are_left_out(tmp_path):
    (tmp_path / "models/a").mkdir(parents=True)
    downloads = list_downloads({"models": {"a": [PATH], "b": [PATH]}}, tmp_path)
    assert [(d.section, d.block, d.size) for d in downloads] == [("models", "b", 0)]


def test_streamed_rows_have_no_known_size(tmp_path):
    source = {"kind": "hub", "repo": "a/b", "revision": "c", "split": "train", "rows": 10}
    [download] = list_downloads({"datasets": {"a": [PATH, source]}}, tmp_path)
    assert download.size is None
    assert format_downloads([download]) == "download of datasets a: unknown"
    assert format_downloads([]) == "nothing is left to download"
