from blossomtune.json_diff import diff_json


def test_differences_name_the_key():
    assert diff_json({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) == []
    assert diff_json({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}, "d": 4}) == [
        "a.b: [1, 2], now [1, 3]",
        "d: None, now 4",
    ]
