"""Task files over local data: one task that chooses, one that generates, and a group of both."""

import json

import pytest
import yaml

QUESTIONS = [
    {"question": f"{i} + {i}", "choices": [str(2 * i), str(2 * i + 1), "none"], "label": i % 2}
    for i in range(7)
]
CHOOSE = {
    "task": "choose",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "label",
    "doc_to_choice": "{{choices}}",
    "should_decontaminate": True,
    "doc_to_decontamination_query": "question",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ],
    "metadata": {"version": 1.5},
}
WRITE = {
    "task": "write",
    "dataset_path": "json",
    "output_type": "generate_until",
    "test_split": "test",
    "fewshot_split": "test",
    "doc_to_text": "{{question}} =",
    "doc_to_target": "{{choices[0]}}",
    "should_decontaminate": True,
    "doc_to_decontamination_query": "Question: {{question}}\nAnswer:",
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 4},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "filter_list": [
        {
            "name": "digits",
            "filter": [
                {"function": "regex", "regex_pattern": "([0-9]+)"},
                {"function": "take_first"},
            ],
        }
    ],
    "metadata": {"version": 2.0},
}
BOTH = {
    "group": "both",
    "task": ["choose", "choose_again"],
    "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    "metadata": {"version": 3},
}


@pytest.fixture(autouse=True, scope="session")
def _leave_out_environment():
    """Do not list installed packages after each evaluation, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda storage: None)
        yield


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    reading = {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")}
    again = CHOOSE | {"task": "choose_again"}
    unsafe = WRITE | {"task": "unsafe", "unsafe_code": True}
    for task in (CHOOSE, again, WRITE, unsafe):
        definition = task | {"dataset_kwargs": reading}
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(definition))
    (folder / "both.yaml").write_text(yaml.safe_dump(BOTH))
    return str(folder)
