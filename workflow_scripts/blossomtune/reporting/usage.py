"""How to use what came out: code to copy."""

import json

from blossomtune.reporting.inputs import Experiment


def merged(e: Experiment) -> str:
    """The merged model, as a pipeline."""
    load = f'pipeline("text-generation", model="results/experiments/{e.name}/merged")\n'
    if e.shape.name == "text":
        return (
            f"from transformers import pipeline\n\nwrite = {load}"
            'print(write("How it starts", max_new_tokens=16, do_sample=False)[0]["generated_text"])'
        )
    roles = (("system", e.shape.templates.get("system")), ("user", _question(e)))
    turns = [{"role": role, "content": text} for role, text in roles if text is not None]
    messages = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in turns)
    return (
        "from transformers import pipeline\n\n"
        f"chat = {load}"
        f"messages = [  # with your own text in place of {{{{ … }}}}\n{messages}]\n"
        "answer = chat(messages, max_new_tokens=16, do_sample=False)\n"
        'print(answer[0]["generated_text"][-1]["content"])'
    )


def _question(e: Experiment) -> str:
    return e.shape.templates.get("prompt", "{{ a question }}")


def adapter(e: Experiment) -> str:
    """The adapter on top of its base."""
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'folder = "results/models/{e.block["model"]}"\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "base = AutoModelForCausalLM.from_pretrained(folder)\n"
        f'model = PeftModel.from_pretrained(base, "results/experiments/{e.name}/adapter")'
    )
