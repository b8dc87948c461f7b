"""Tests of what a preview shows."""

from blossomtune.reporting.preview import view

ROWS = [{"prompt": f"{i}?", "completion": "yes" * (i % 3 + 1)} for i in range(30)]


def test_every_client_and_the_held_out_rows_have_ten_rows(preview):
    shown = preview({"north": ROWS, "south": ROWS[:4]}, test=ROWS[:12])
    assert [(f.name, f.is_held_out, len(f.rows)) for f in shown.files] == [
        ("north", False, 10),
        ("south", False, 4),
        ("common test", True, 10),
    ]
    for row in shown.files[0].rows:
        assert [i for token in row.first for i in token.ids]
        assert row.num_learnt == sum(token.is_learnt for token in row.first)
        assert row.texts == []
    assert [dict(row.texts)["completion"] for row in shown.files[2].rows]


def test_rows_that_clients_hold_out_are_shown(preview):
    held_out = {"client_0.validation": ROWS[:2], "client_0.test": ROWS[:3]}
    shown = preview({"north": ROWS}, test=ROWS[:1], held_out=held_out)
    assert [(f.name, len(f.rows)) for f in shown.files[2:]] == [
        ("north, own validation", 2),
        ("north, own test", 3),
    ]


def test_external_clients_are_named(preview):
    shown = preview({"north": ROWS}, test=ROWS[:1], external=["south"])
    assert [f.name for f in shown.files] == ["north", "common test"]
    assert shown.external_clients == ["south"]


def test_of_many_clients_some_are_shown(preview):
    shown = preview({f"client {i}": ROWS[:1] for i in range(60)}, test=ROWS[:1])
    names = [f.name for f in shown.files if not f.is_held_out]
    assert len(names) == shown.num_shown_clients == view.MAX_CLIENTS
    assert (names[0], names[-1]) == ("client 0", "client 59")


def test_middle_of_a_long_row_is_left_out_and_counted(preview, monkeypatch):
    monkeypatch.setattr(view, "MAX_TOKENS", 40)
    row = preview({"a": [{"text": "x" * 100}]}, test=[{"text": "y"}]).files[0].rows[0]
    assert (len(row.first), len(row.last)) == (10, 10)
    assert row.num_tokens == len(row.first) + row.num_hidden + len(row.last) == 101
    learnt = [token for token in (*row.first, *row.last) if token.is_learnt]
    assert row.num_learnt == len(learnt) + row.num_hidden_learnt == 100


def test_preview_is_the_same_each_time(preview, tiny_model, tmp_path):
    first = preview({"a": ROWS}, test=ROWS[:2])
    config = first.names | {"seed": 42}
    again = view.build_preview(config, tiny_model, tmp_path / "partition", tmp_path / "tokenized")
    assert again == first
