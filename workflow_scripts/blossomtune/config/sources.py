"""Blocks that say where models and data come from."""

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from blossomtune.config.base import Above0, Block, Count, Name, Sha256, Text, distinct, in_words

_SECRET = re.compile(r"token|key|secret|sig|passw|auth|credential", re.IGNORECASE)


class PypiSource(Block):
    """Files inside a package of the Python package registry; the user's pip index is honoured."""

    kind: Literal["pypi"]
    package: Text = Field(description="Name of the package.")
    version: Text = Field(description="Exact version.")
    distribution: Literal["wheel", "sdist"] = Field("wheel", description="Which of its archives.")
    sha256: Sha256 | None = Field(None, description="Expected checksum of the archive.")


class PypiModel(PypiSource):
    """A model inside a package: a GGUF file, or a folder of safetensors."""

    file: Text = Field("*.gguf", description="Pattern that names one file in the archive.")


class PypiData(PypiSource):
    """Data files inside a package, also inside an archive that it carries."""

    files: Text = Field("**", description="Pattern of files in the archive, nested ones included.")


class PathModel(Block):
    """A model directory on this machine, as `save_pretrained` writes it."""

    kind: Literal["path"]
    path: Text = Field(description="Directory with config.json, safetensors and tokenizer.")


class PathData(Block):
    """A file on this machine, an archive, a folder of files, or what `save_to_disk` wrote."""

    kind: Literal["path"]
    path: Text = Field(description="A file, an archive, or a folder.")
    files: Text = Field("**", description="Pattern of files in a folder or an archive.")
    split: Text | None = Field(None, description="Split of a `save_to_disk` folder that has some.")


class UrlData(Block):
    """A file or an archive that is downloaded; its checksum says that it is the one meant."""

    kind: Literal["url"]
    url: Annotated[
        str,
        StringConstraints(pattern=r"^https?://[^/@\s]+(/\S*)?$"),
        in_words("an address that starts with https:// or http://, without user and password"),
    ]
    sha256: Sha256 = Field(description="Checksum of what is downloaded.")
    files: Text = Field("**", description="Pattern of files in an archive.")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, url: str) -> str:
        names = [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
        if secret := [name for name in names if _SECRET.search(name)]:
            raise ValueError(
                f"the part {secret[0]!r} of the address looks like a secret, and configurations "
                "are recorded; download the file yourself, kind: path"
            )
        return url


class HubModel(Block):
    """A model on the Hugging Face hub; `HF_TOKEN` is read from the environment only."""

    kind: Literal["hub"]
    repo: Text = Field(description="owner/name")
    revision: Text = Field(description="Commit, tag or branch; resolved to a commit and recorded.")


class HubData(HubModel):
    """A data set on the Hugging Face hub."""

    subset: Text | None = Field(None, description="Name of a configuration of the data set.")
    split: Text = Field("train", description="Name of the split.")
    rows: Count | None = Field(
        None, description="Only the first rows, streamed: hardly more than these is downloaded."
    )


class Mixture(Block):
    """Other data sets of this configuration, as one; the column `source` says where from."""

    kind: Literal["mixture"]
    datasets: Annotated[list[Name], Field(min_length=2), AfterValidator(distinct)]
    weights: list[Above0] | None = Field(
        None, description="Shares in which rows are drawn in turn; without, one after another."
    )
    until: Literal["first_exhausted", "all_exhausted"] = Field(
        "first_exhausted", description="With weights: when to stop; the latter repeats rows."
    )

    @model_validator(mode="after")
    def _a_weight_each(self) -> "Mixture":
        if self.weights is not None and len(self.weights) != len(self.datasets):
            raise ValueError(
                f"weights: {len(self.weights)} for {len(self.datasets)} datasets; one each"
            )
        return self


Files = Annotated[HubData | PypiData | UrlData | PathData, Field(discriminator="kind")]


class Model(Block):
    """A base model."""

    source: Annotated[PypiModel | HubModel | PathModel, Field(discriminator="kind")]
