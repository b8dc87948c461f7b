import pytest

from blossomtune.data.templates import Template
from blossomtune.errors import UserError

ROW = {"text": "fine", "label": "positive", "rating": 0.7, "nested": {"a": "deep"}, "none": None}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ text }}: {{ label | upper }}", "fine: POSITIVE"),
        ("{{ nested.a }}", "deep"),
        ("{{ 'good' if rating > 0.5 else 'bad' }}", "good"),
        ("{{ none or 'nothing' }}", "nothing"),
        ("{{ other is defined }}", "False"),
        ("<b> & {{ text }}", "<b> & fine"),
    ],
)
def test_rendering(source, text):
    assert Template("prompt", source).render(ROW, "row 3 of a.csv") == text


def test_an_undefined_name():
    with pytest.raises(UserError) as error:
        Template("completion", "is {{ lable }}").render(ROW, "row 3 of a.csv")
    assert str(error.value) == (
        "row 3 of a.csv: completion: there is no column 'lable'; did you mean 'label'? "
        "columns: text, label, rating, nested, none\n"
        "  template: is {{ lable }}"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ nested.b }}", "has no attribute 'b'"),
        ("{{ none }}", "a value that it writes is null"),
        ("{{ text / 2 }}", "TypeError: unsupported operand"),
        ("{{ text.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
        ("{{ nested.update(a=1) }}", "SecurityError: "),
    ],
)
def test_a_template_that_fails_names_row_key_and_template(source, reason):
    with pytest.raises(UserError) as error:
        Template("prompt", source).render(ROW, "row 3 of a.csv")
    assert str(error.value).startswith("row 3 of a.csv: prompt: ")
    assert reason in str(error.value)
    assert f"template: {source}" in str(error.value)


def test_a_template_that_is_not_valid():
    with pytest.raises(UserError, match=r"derive\.label: not a valid template: .* \(line 1 of"):
        Template("derive.label", "{{ text")
