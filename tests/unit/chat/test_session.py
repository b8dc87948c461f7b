import io

import pytest

from blossomtune.chat.session import chat, read_turns
from blossomtune.errors import UserError

NAMES = ("base", "federated")


class Echo:
    """Answers with the name and the number of turns; refuses the turn ``long``."""

    def print_answer(self, name, prompt):
        if prompt[-1] == "long":
            raise UserError("too long", "/reset starts a new one")
        answer = f"{name} {len(prompt)}"
        print(answer)
        return answer


def run(turns):
    chat(iter(turns), NAMES, lambda messages: [m["content"] for m in messages], Echo())


def test_each_model_has_a_conversation_of_its_own(capsys):
    run(["a", "b", "/reset", "c", "/quit", "d"])
    assert capsys.readouterr().out.splitlines() == [
        *("base> base 1", "federated> federated 1", "base> base 3", "federated> federated 3"),
        *("new conversation", "base> base 1", "federated> federated 1"),
    ]


def test_refused_turn_leaves_the_conversation_as_it_was(capsys):
    run(["a", "long", "b"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "base> error: too long"
    assert lines[-2:] == ["base> base 3", "federated> federated 3"]


def test_unknown_command_is_not_sent_to_the_models(capsys):
    run(["/restart now"])
    assert capsys.readouterr().out.startswith("/restart is not a command; /reset starts")


def test_lines_of_a_pipe_are_turns(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(" Hello \n\n  \n/quit\nlast"))
    assert list(read_turns()) == ["Hello", "/quit", "last"]
    assert capsys.readouterr().out == ""


def test_interrupt_at_the_prompt_discards_the_line(monkeypatch):
    lines = iter([KeyboardInterrupt(), "Hello", EOFError()])

    def read(prompt):
        line = next(lines)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)
    assert list(read_turns()) == ["Hello"]


@pytest.mark.parametrize("turns", [[], ["/quit"]])
def test_end_of_input_ends_the_chat(turns, capsys):
    run(turns)
    assert capsys.readouterr().out == ""
