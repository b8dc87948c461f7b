"""Sentences on GPUs."""

from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

HISTORY = "experiments/*/history.json"


def test_utilization_and_memory_of_gpus_are_stated(results):
    c = write_results(results, build_configuration())
    assert "GPU" not in get_visible_text(render_report(c, results))

    def on_gpus(history):
        for record in history["rounds"][1:]:
            one = {"name": "NVIDIA A100", "memory_total_mb": 42_500}
            record["gpus"] = [
                one | {"utilization": 60 + record["round"], "memory_mb": 30_100},
                one | {"utilization": 40 + record["round"], "memory_mb": 12_000},
            ]
            for client in record["clients"]:
                client["gpu_memory_mb"] = 9_000 + client["client"]

    update_manifest(results, HISTORY, on_gpus)
    text = get_visible_text(render_report(c, results))
    assert (
        "Two GPUs (NVIDIA A100): busy for 52 % of the rounds’ time, the fullest with 30.1 GB of "
        "42.5 GB taken. A client held up to 9.0 GB of a GPU."
    ) in text
    assert "GPUs busy" in text
    html = render_report(c, results)
    assert "<td>53\u202f%</td><td>30,100</td>" in html
    assert "<td>–</td><td>–</td>" in html  # round 0


def test_device_and_a_base_that_is_not_float32_are_stated(results):
    c = write_results(results, build_configuration())
    assert "of training on CPU" in (plain := get_visible_text(render_report(c, results)))
    assert "in bfloat16" not in plain
    update_manifest(results, HISTORY, lambda h: h.update(device="cuda", base_dtype="bfloat16"))
    assert "of training on CUDA in bfloat16" in get_visible_text(render_report(c, results))
