"""Tests of the configuration of formats."""

from config_samples import EXPERIMENT, RAW, get_errors, set_values

from blossomtune.config.load import load_configuration


def test_nothing_is_exported_or_published_by_default():
    experiment = load_configuration(RAW).experiments["quickstart"]
    assert (experiment.export, experiment.publish) == (None, None)


def test_ollama_and_empty_blocks_need_a_format():
    for block, reason in (({"ollama": True}, "ollama needs a GGUF"), ({}, "no format is named")):
        (error,) = get_errors(set_values(RAW, {f"{EXPERIMENT}.export": block}))
        assert error.startswith(f"{EXPERIMENT}.export: {reason}")


def test_adapter_with_dora_has_no_gguf_form():
    changes = {f"{EXPERIMENT}.lora.dora": True, f"{EXPERIMENT}.export": {"adapter_gguf": True}}
    (error,) = get_errors(set_values(RAW, changes))
    assert error.startswith(f"{EXPERIMENT}.export.adapter_gguf: GGUF adapters have no place")


def test_types_that_the_converter_does_not_write_are_refused_with_what_to_do():
    (error,) = get_errors(set_values(RAW, {f"{EXPERIMENT}.export": {"gguf": ["f16", "Q4_K_M"]}}))
    assert error == (
        f"{EXPERIMENT}.export.gguf[1]: 'Q4_K_M' is not allowed; allowed: one of f32, f16, bf16, "
        "q8_0, tq1_0, tq2_0, which llama.cpp's converter writes; for others, such as Q4_K_M, run "
        "`llama-quantize FILE-f16.gguf OUTPUT.gguf Q4_K_M`"
    )
