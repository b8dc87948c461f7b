"""Read a person's turns from a terminal or a pipe, and print the answers of both models."""

import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage

RESET, QUIT = "/reset", "/quit"
HELP = f"{RESET} starts a new conversation, {QUIT} or Ctrl-D ends, Ctrl-C ends an answer"


class Answerer(Protocol):
    """Models that answer prompts; ``ChatModels`` is one."""

    def print_answer(self, name: str, prompt: list[int]) -> str:
        """Print and return a model's answer.

        Args:
            name: Name of the model.
            prompt: Token ids of the prompt.

        Returns:
            The answer.
        """


def read_turns(prompt: str = "you> ") -> Iterator[str]:
    """Yield the lines of standard input until its end.

    Args:
        prompt: Text to show in a terminal before each line.

    Yields:
        Lines without white space around them; none is empty.
    """
    prompt = prompt if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            if prompt:
                print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if line:
            yield line


def chat(
    turns: Iterator[str],
    names: tuple[str, ...],
    encode: Callable[[list[ChatMessage]], list[int]],
    models: Answerer,
) -> None:
    """Answer turns with each model in its own conversation.

    Args:
        turns: The person's turns, and commands.
        names: Names of the models.
        encode: Function of messages to the token ids of a prompt.
        models: The models.
    """
    conversations: dict[str, list[ChatMessage]] = {name: [] for name in names}
    for turn in turns:
        if turn == QUIT:
            return
        if turn == RESET:
            conversations = {name: [] for name in names}
            print("new conversation")
        elif turn.startswith("/"):
            print(f"{turn.split()[0]} is not a command; {HELP}")
        else:
            for name, messages in conversations.items():
                _answer(name, messages, turn, encode, models)


def _answer(
    name: str,
    messages: list[ChatMessage],
    turn: str,
    encode: Callable[[list[ChatMessage]], list[int]],
    models: Answerer,
) -> None:
    """Extend a conversation by a turn and its answer; an error leaves it as it was."""
    asked = [*messages, {"role": "user", "content": turn}]
    print(f"{name}> ", end="", flush=True)
    try:
        answer = models.print_answer(name, encode(asked))
    except UserError as error:
        print(f"error: {error}", flush=True)
        return
    messages[:] = [*asked, {"role": "assistant", "content": answer}]
