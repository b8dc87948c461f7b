"""Tests of templates and expressions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.jinja_environment import (
    get_expression_environment,
    get_template_environment,
)
from blossomtune.data.template_columns import format_row_access
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
        ("{{ nested }}", "it writes a mapping (column 'nested'), not text"),
        ("{{ [label] }}", "it writes a list, not text"),
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


ODD_NAMES = [
    "Question text",
    "data.value",
    "2nd",
    'say "hi"',
    "it's",
    "a\nb\\n",
    "größe €",
    "class",
]


@pytest.mark.parametrize("name", [*ODD_NAMES, "items", "row"])
def test_column_of_any_name_is_read_through_row(name):
    source = format_row_access(name)
    row = {name: "yes", "other": 1}
    assert Template("prompt", f"{{{{ {source} }}}}!").render(row, "row 3") == "yes!"
    assert Expression("filter", f"{source} == 'yes'").evaluate(row, "row 3") is True


@given(st.text(min_size=1))
def test_row_access_is_written_as_jinja_reads_it(name):
    source = format_row_access(name)
    template = Template("prompt", f"{{{{ {source} }}}}")
    assert template.render({name: "yes"}, "row 3") == "yes"
    assert template.find_columns([name, name + "x"]) == {name}


@pytest.mark.parametrize(
    ("kind", "source", "name", "hint"),
    [
        (Template, "{{ Qestion }}", "Qestion", '{{ row["Question text"] }}'),
        (Template, "{{ data.value }}", "data", '{{ row["data.value"] }}'),
        (Template, '{{ row["Question txt"] }}', "Question txt", '{{ row["Question text"] }}'),
        (Expression, "data.value > 3", "data", 'row["data.value"]'),
    ],
)
def test_error_of_an_unknown_column_says_how_to_read_unusual_names(kind, source, name, hint):
    compiled = kind("key", source)
    run = compiled.render if kind is Template else compiled.evaluate
    with pytest.raises(UserError) as error:
        run({"Question text": 1, "data.value": 2}, "row 3")
    message = str(error.value)
    assert message.startswith(f"row 3: key: there is no column {name!r}; ")
    assert message.endswith(f"hint: write {hint} for a column whose name is no plain word")


def test_field_that_does_not_exist_may_be_a_column_with_a_dot():
    row = {"other thing": 1, "nested": {"a": 1}, "nested.b": 2}
    with pytest.raises(
        UserError, match=r'no attribute .b.(.|\n)*hint: write {{ row\["nested.b"\] }}'
    ):
        Template("prompt", "{{ nested.b }}").render(row, "row 3")


@pytest.mark.parametrize(
    ("kind", "source", "access"),
    [
        (Template, "{{ row }}", '{{ row["row"] }}'),
        (Template, "{{ row | length }}", '{{ row["row"] }}'),
        (Expression, "row != 'x'", 'row["row"]'),
    ],
)
def test_column_called_row_is_not_mistaken_for_the_whole_row(kind, source, access):
    compiled = kind("key", source)
    run = compiled.render if kind is Template else compiled.evaluate
    with pytest.raises(UserError) as error:
        run({"row": "x"}, "row 3")
    assert "`row` is the whole row here, and there is a column 'row' as well" in str(error.value)
    assert str(error.value).endswith(f"hint: write {access} for the column, or rename it")


def test_whole_row_is_available_where_no_column_has_its_name():
    template = Template(
        "text", "{% for name, cell in row.items() %}{{ name }}={{ cell }};{% endfor %}"
    )
    assert template.render({"a b": 1, "c": "x"}, "row 3") == "a b=1;c=x;"
    assert Template("text", "{{ row[key] }}").render({"key": "c d", "c d": 5}, "row 3") == "5"


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


@pytest.mark.parametrize(
    ("kind", "get_environment"),
    [(Template, get_template_environment), (Expression, get_expression_environment)],
)
def test_source_is_compiled_once(kind, get_environment, monkeypatch):
    environment, sources = get_environment(), []
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


def test_template_that_is_nested_too_deeply_is_rejected():
    for source in (
        "{{ " + "+".join(["1"] * 3000) + " }}",
        "{% for a in b %}" * 30 + "{% endfor %}" * 30,
    ):
        with pytest.raises(UserError, match="prompt: not a valid template: nested too deeply"):
            Template("prompt", source)


def test_text_of_an_error_is_shortened():
    with pytest.raises(UserError) as error:
        Template("prompt", "{{ x[y * 10 ** 6] }}").render({"x": {}, "y": "y"}, "row 3")
    assert len(str(error.value)) < 2000
