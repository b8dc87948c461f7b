"""The block of a data set."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from blossomtune.config.base import (
    Block,
    CountOrFraction,
    Integer,
    JinjaExpression,
    JinjaTemplate,
    NonEmptyStr,
    PositiveInt,
    require_unique,
    with_error_message,
)
from blossomtune.config.sources import FileSource, HubData, Mixture, PathData, PypiData, UrlData


class FileFormat(Block):
    """How files become rows; files compressed by gzip or zstd are read as they are."""

    kind: Literal["csv", "tsv", "json", "jsonl", "parquet", "arrow"]
    columns: list[NonEmptyStr] | None = Field(
        None, description="Column names of csv or tsv files that have no header line."
    )


class TestSplitSettings(Block):
    """Rows held out from every client, for evaluation."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    size: Annotated[
        CountOrFraction | Literal["all"],
        with_error_message(
            "a number of rows of at least 1, a share of them between 0 and 1, or all"
        ),
    ] = Field("all", description="Rows, or a share of them below 1.")
    stratify_by: NonEmptyStr | None = Field(
        None, description="Column whose shares the split keeps."
    )
    source: FileSource | None = Field(
        None, description="Take the test rows from here instead of from the data itself."
    )

    @model_validator(mode="before")
    @classmethod
    def _set_default_size(cls, values: object) -> object:
        """Without a source of its own, a tenth of the rows is the test split."""
        if isinstance(values, dict) and values.get("source") is None and "size" not in values:
            return values | {"size": 0.1}
        return values


class DatasetSettings(Block):
    """A data set: where it comes from and how it becomes training rows and test rows."""

    source: Annotated[
        HubData | PypiData | UrlData | PathData | Mixture, Field(discriminator="kind")
    ]
    format: FileFormat | None = Field(
        None, description="Of the files; by default what their names end in. The hub needs none."
    )
    rename: dict[NonEmptyStr, NonEmptyStr] = Field(
        {}, description="Columns to rename: old name to new."
    )
    derive: dict[NonEmptyStr, JinjaTemplate] = Field(
        {}, description="New columns: Jinja2 over a row's columns and `file`, its file's name."
    )
    filter: JinjaExpression | None = Field(
        None, description="Keep rows of which this Jinja2 expression is true."
    )
    columns: (
        Annotated[list[NonEmptyStr], Field(min_length=1), AfterValidator(require_unique)] | None
    ) = Field(None, description="Keep these columns only.")
    deduplicate_by: list[NonEmptyStr] = Field(
        [], description="Of rows equal in these, keep the first."
    )
    deduplicate_as: Literal["exact", "normalised"] = Field(
        "exact", description="Normalised: letter case, spaces, marks and Unicode forms are equal."
    )
    shuffle_seed: Integer | None = Field(None, description="Shuffle the rows by this seed.")
    limit: PositiveInt | None = Field(None, description="Keep the first rows, after shuffling.")
    test: TestSplitSettings = TestSplitSettings()
    licence: NonEmptyStr | None = Field(
        None, description="Licence of the data, for the model card."
    )

    @model_validator(mode="after")
    def _reject_keys_of_mixture(self) -> "DatasetSettings":
        if isinstance(self.source, Mixture):
            for key in ("format", "test"):
                if key in self.model_fields_set:
                    raise ValueError(
                        f"{key} has no place beside a mixture: its rows are those of its data "
                        "sets, test rows included"
                    )
        return self
