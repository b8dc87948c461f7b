"""Define the configuration of exported formats and of publishing."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from blossomtune.config.base import Block, NonEmptyStr, require_unique, with_error_message
from blossomtune.config.sources import PypiData

CONVERTER = "llama.cpp"
"""Name of the converter's folder in the results."""

CONVERTER_SOURCE = PypiData(
    kind="pypi",
    package="llama-cpp-python",
    version="0.3.36",
    distribution="sdist",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    files="*/vendor/llama.cpp/**",
)
"""Archive with llama.cpp's own converters to GGUF. Nothing of it is compiled."""

GgufType = Annotated[
    Literal["f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0"],
    with_error_message(
        "one of f32, f16, bf16, q8_0, tq1_0, tq2_0, which llama.cpp's converter writes; for "
        "others, such as Q4_K_M, run `llama-quantize FILE-f16.gguf OUTPUT.gguf Q4_K_M`"
    ),
]


class ExportSettings(Block):
    """Formats of the result for other programs. See [deploying models](deploying-models.md)."""

    gguf: Annotated[list[GgufType], AfterValidator(require_unique)] = Field(
        [], description="GGUF files of the merged model, for llama.cpp: types of the weights."
    )
    adapter_gguf: bool = Field(
        False, description="A GGUF file of the adapter alone, in float32, for llama.cpp's `--lora`."
    )
    ollama: bool = Field(
        False,
        description="A Modelfile for Ollama, of the first type in `gguf`: template, stop tokens, "
        "system text and temperature 0.",
    )

    @model_validator(mode="after")
    def _require_a_format(self) -> "ExportSettings":
        if self.ollama and not self.gguf:
            raise ValueError("ollama needs a GGUF file beside it, such as gguf: [q8_0]")
        if not (self.gguf or self.adapter_gguf):
            raise ValueError("no format is named; such as gguf: [q8_0], or adapter_gguf: true")
        return self


class PublishSettings(Block):
    """A repository of the Hugging Face hub for the result; `make run ARGS=publish` pushes to it.

    The token comes from the environment variable `HF_TOKEN` only.
    """

    repo: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=96),
        with_error_message("`owner/name` of a model on the Hugging Face hub"),
    ] = Field(description="`owner/name` on the hub. The repository is created if need be.")
    what: Literal["adapter", "merged"] = Field(
        "adapter", description="The adapter alone, in PEFT's format, or the merged model."
    )
    private: bool = Field(
        True, description="Visibility of the repository. That of an existing one is not changed."
    )
    revision: NonEmptyStr = Field(
        "main", description="Branch to commit to. It is created if need be."
    )
