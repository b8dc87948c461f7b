"""Tests of templates and expressions."""

import pytest

from blossomtune.data import templates
from blossomtune.data.templates import Expression, Template
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
def test_template_renders(source, text):
    assert Template("prompt", source).render(ROW, "row 3 of a.csv") == text


def test_undefined_name_lists_the_columns():
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
def test_failing_template_names_row_key_and_template(source, reason):
    with pytest.raises(UserError) as error:
        Template("prompt", source).render(ROW, "row 3 of a.csv")
    assert str(error.value).startswith("row 3 of a.csv: prompt: ")
    assert reason in str(error.value)
    assert f"template: {source}" in str(error.value)


def test_invalid_template_is_rejected():
    with pytest.raises(UserError, match=r"derive\.label: not a valid template: .* \(line 1 of"):
        Template("derive.label", "{{ text")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rating > 0.5 and label == 'positive'", True),
        ("rating > 0.9", False),
        ("text in ['bad', 'worse']", False),
        ("none", False),
        ("none is none and other is not defined", True),
        ("label | length", True),
        ("nested.a[:2] ~ '}}' == 'de}}'", True),
    ],
)
def test_expression_evaluates_to_a_truth_value(source, expected):
    assert Expression("filter", source).evaluate(ROW, "row 3 of a.csv") is expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("lable == 'positive'", "there is no column 'lable'; did you mean 'label'?"),
        ("nested.b", "has no attribute 'b'"),
        ("none > 1", "TypeError: '>' not supported"),
        ("text.__class__.__mro__", "SecurityError: access to attribute '__class__'"),
    ],
)
def test_failing_expression_names_row_key_and_expression(source, reason):
    with pytest.raises(UserError) as error:
        Expression("filter", source).evaluate(ROW, "row 3 of a.csv")
    assert str(error.value).startswith("row 3 of a.csv: filter: ")
    assert reason in str(error.value)
    assert f"expression: {source}" in str(error.value)


@pytest.mark.parametrize("source", ["rating >", "{{ rating }}", "rating }} {{ text", ""])
def test_invalid_expression_is_rejected(source):
    with pytest.raises(UserError, match="filter: not a valid expression: "):
        Expression("filter", source)


@pytest.mark.parametrize("kind", [Template, Expression])
def test_source_is_compiled_once(kind, monkeypatch):
    environment, sources = templates._get_environment(), []
    compile_source = environment.compile

    def record(source, *args, **kwargs):
        sources.append(source)
        return compile_source(source, *args, **kwargs)

    monkeypatch.setattr(environment, "compile", record)
    compiled = kind("key", "{{ n }}" if kind is Template else "n")
    run = compiled.render if kind is Template else compiled.evaluate
    results = [run({"n": n}, "row") for n in range(1000)]
    assert results == [str(n) if kind is Template else bool(n) for n in range(1000)]
    assert len(sources) == 1


def test_rows_do_not_share_state():
    template = Template("prompt", "{% if n %}{% set seen = n %}{% endif %}{{ seen | default(0) }}")
    assert [template.render({"n": n}, "row") for n in (1, 0)] == ["1", "0"]
