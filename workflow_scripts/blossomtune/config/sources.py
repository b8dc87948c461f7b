"""Blocks that say where models and data come from."""

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
    """Files inside a package of the Python package registry; the user's pip index is honoured."""

    kind: Literal["pypi"]
    package: NonEmptyStr = Field(description="Name of the package.")
    version: NonEmptyStr = Field(description="Exact version.")
    distribution: Literal["wheel", "sdist"] = Field("wheel", description="Which of its archives.")
    sha256: Sha256 | None = Field(None, description="Expected checksum of the archive.")


class PypiModel(PypiSource):
    """A model inside a package: a GGUF file, or a folder of safetensors."""

    file: NonEmptyStr = Field("*.gguf", description="Pattern that names one file in the archive.")


class PypiData(PypiSource):
    """Data files inside a package, also inside an archive that it carries."""

    files: NonEmptyStr = Field(
        "**", description="Pattern of files in the archive, nested ones included."
    )


class PathModel(Block):
    """A model directory on this machine, as `save_pretrained` writes it."""

    kind: Literal["path"]
    path: NonEmptyStr = Field(description="Directory with config.json, safetensors and tokenizer.")


class PathData(Block):
    """A file on this machine, an archive, a folder of files, or what `save_to_disk` wrote."""

    kind: Literal["path"]
    path: NonEmptyStr = Field(description="A file, an archive, or a folder.")
    files: NonEmptyStr = Field("**", description="Pattern of files in a folder or an archive.")
    split: NonEmptyStr | None = Field(
        None, description="Split of a `save_to_disk` folder that has some."
    )


class UrlData(Block):
    """A file or an archive that is downloaded; its checksum says that it is the one meant."""

    kind: Literal["url"]
    url: Annotated[
        str,
        StringConstraints(pattern=r"^https?://[^/@\s]+(/\S*)?$"),
        with_error_message(
            "an address that starts with https:// or http://, without user and password"
        ),
    ]
    sha256: Sha256 = Field(description="Checksum of what is downloaded.")
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
    """A model on the Hugging Face hub; `HF_TOKEN` is read from the environment only."""

    kind: Literal["hub"]
    repo: NonEmptyStr = Field(description="owner/name")
    revision: NonEmptyStr = Field(
        description="Commit, tag or branch; resolved to a commit and recorded."
    )


class HubData(HubModel):
    """A data set on the Hugging Face hub."""

    subset: NonEmptyStr | None = Field(None, description="Name of a configuration of the data set.")
    split: NonEmptyStr = Field("train", description="Name of the split.")
    rows: PositiveInt | None = Field(
        None, description="Only the first rows, streamed: hardly more than these is downloaded."
    )


class Mixture(Block):
    """Other data sets of this configuration, as one; the column `source` says where from."""

    kind: Literal["mixture"]
    datasets: Annotated[list[Name], Field(min_length=2), AfterValidator(require_unique)]
    weights: list[PositiveFloat] | None = Field(
        None, description="Shares in which rows are drawn in turn; without, one after another."
    )
    until: Literal["first_exhausted", "all_exhausted"] = Field(
        "first_exhausted", description="With weights: when to stop; the latter repeats rows."
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
    """A base model."""

    source: Annotated[PypiModel | HubModel | PathModel, Field(discriminator="kind")]
