"""Conversations that chat templates can or cannot express, with the expected outcome of each."""

from chat_families import FAMILIES, build_tokenizer
from chat_oracle import decode_learnt_turns, render_learnt_turns
from chat_rows import assistant, call, result, tool, user

SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [tool("get_weather", "Get the weather of a city.", city="Name of the city.")]
CALL = call("get_weather", {"city": 'Köln "am" Rhein'})
ANSWER = [result("9 °C"), assistant("It is cold.")]
TAGGED = "<think>\nHow deep?\n</think>\n\nVery deep."

# name: messages, tools
CASES = {
    "plain": ([user("Why?"), assistant("So.")], None),
    "system": ([SYSTEM, user("Why?"), assistant("So.")], None),
    "turns": ([user("Why?"), assistant("So."), user("And how?"), assistant("Well.")], None),
    "weight": (
        [user("Why?"), assistant("Bad.", weight=0), user("How?"), assistant("Good.", weight=1)],
        None,
    ),
    "think": ([user("Why?"), assistant("So.", reasoning_content="How deep?\n\nVery.")], None),
    "tagged": ([user("Why?"), assistant(TAGGED)], None),
    "thinks": (
        [
            *(user("Why?"), assistant("So.", reasoning_content="How deep?")),
            *(user("And how?"), assistant("Well.", reasoning_content="How well?")),
        ],
        None,
    ),
    "listed": ([user("Why?"), assistant("So.")], TOOLS),
    "call": ([user("Cold?"), assistant(None, tool_calls=[CALL]), *ANSWER], TOOLS),
    "both": ([user("Cold?"), assistant("Let me look.", tool_calls=[CALL]), *ANSWER], TOOLS),
    "calls": (
        [
            user("Cold?"),
            assistant(None, tool_calls=[CALL, call("get_weather", {"city": "Bonn"}, "abcdef013")]),
            result("9 °C"),
            result("8 °C", "abcdef013"),
            assistant("Both are."),
        ],
        TOOLS,
    ),
    "name": ([user("Why?", name="Ada"), assistant("So.")], None),
}

# ok: learnt; lost: the template does not write a text; prompt: training has another prompt than
# inference; error: the template raises an error
EXPECTED = """
               plain  system turns  weight think  tagged thinks listed call   both   calls  name
chatml         ok     ok     ok     ok     lost   ok     lost   lost   lost   lost   lost   lost
llama3         ok     ok     ok     ok     lost   ok     lost   ok     ok     lost   error  lost
qwen2_5        ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
qwen3          ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     lost
qwen3_off      ok     ok     ok     ok     prompt prompt prompt ok     ok     ok     ok     lost
qwen3_thinking ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
gemma2         ok     error  ok     ok     lost   ok     lost   lost   error  error  error  lost
gemma3         ok     ok     ok     ok     lost   ok     lost   lost   error  error  error  lost
mistral_nemo   ok     ok     ok     ok     lost   ok     lost   ok     ok     lost   ok     lost
mistral_small  ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
phi4           ok     ok     ok     ok     lost   ok     lost   lost   lost   lost   lost   lost
deepseek_r1    prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt prompt
gpt_oss        ok     ok     ok     ok     ok     ok     ok     ok     ok     ok     lost   lost
smollm3        ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
smollm3_off    ok     ok     ok     ok     ok     ok     ok     lost   lost   lost   lost   lost
granite3       ok     ok     ok     ok     lost   ok     lost   ok     lost   lost   lost   lost
lfm2           ok     ok     ok     ok     lost   ok     lost   ok     ok     ok     ok     lost
"""
REFUSALS = {
    "lost": "the chat template does not write this text",
    "prompt": "at inference",
    "error": "the model's chat template refuses these turns",
}


def parse_cells(text):
    """Yield family, case and expected outcome of each cell of a table."""
    header, *lines = (line.split() for line in text.strip().splitlines())
    for name, *cells in lines:
        yield from ((name, case, cell) for case, cell in zip(header, cells, strict=True))


CELLS = list(parse_cells(EXPECTED))


def make_row(messages, tools=None):
    """Return a row of a conversation."""
    return {"messages": messages} | ({"tools": tools} if tools else {})


def check_turns(name, examples, messages, tools=None, **changes):
    """Check that the examples of a row teach what the oracle renders."""
    tokenizer = build_tokenizer(name)
    expected = render_learnt_turns(tokenizer, FAMILIES[name], messages, tools, **changes)
    assert decode_learnt_turns(tokenizer, examples) == expected
