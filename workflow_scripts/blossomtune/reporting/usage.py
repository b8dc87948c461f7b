"""Format code that loads the results."""

import json

from blossomtune.reporting.load import ExperimentResults


def format_merged_snippet(e: ExperimentResults) -> str:
    """Return code that runs the merged model as a pipeline."""
    load = f'pipeline("text-generation", model="results/experiments/{e.name}/merged")\n'
    if e.row_format.name == "text":
        return (
            f"from transformers import pipeline\n\nwrite = {load}"
            'print(write("How it starts", max_new_tokens=16, do_sample=False)[0]["generated_text"])'
        )
    roles = (("system", e.row_format.templates.get("system")), ("user", _prompt_template(e)))
    turns = [{"role": role, "content": text} for role, text in roles if text is not None]
    messages = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in turns)
    return (
        "from transformers import pipeline\n\n"
        f"chat = {load}"
        f"messages = [  # with your own text in place of {{{{ … }}}}\n{messages}]\n"
        "answer = chat(messages, max_new_tokens=16, do_sample=False)\n"
        'print(answer[0]["generated_text"][-1]["content"])'
    )


def _prompt_template(e: ExperimentResults) -> str:
    return e.row_format.templates.get("prompt", "{{ a question }}")


def format_adapter_snippet(e: ExperimentResults) -> str:
    """Return code that loads the adapter on top of its base."""
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'folder = "results/models/{e.config["model"]}"\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "base = AutoModelForCausalLM.from_pretrained(folder)\n"
        f'model = PeftModel.from_pretrained(base, "results/experiments/{e.name}/adapter")'
    )
