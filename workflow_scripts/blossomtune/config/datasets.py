"""Define the configuration of data sets."""

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
from blossomtune.config.file_format import FileFormat
from blossomtune.config.sources import FileSource, HubData, Mixture, PathData, PypiData, UrlData


class TestSplitSettings(Block):
    """Rows held out from every client, for evaluation."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    size: Annotated[
        CountOrFraction | Literal["all"],
        with_error_message(
            "a number of rows of at least 1, a share of them between 0 and 1, or all"
        ),
    ] = Field(
        "all",
        description="Number of rows, a fraction below 1, or `all`. Without `source` the "
        "default is 0.1.",
    )
    stratify_by: NonEmptyStr | None = Field(
        None, description="The test rows keep the shares of this column's values."
    )
    source: FileSource | None = Field(
        None,
        description="Separate test rows from any source but a mixture. They go through the "
        "same steps. Training rows that equal one of them by `deduplicate_by` are removed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _set_default_size(cls, values: object) -> object:
        """Set the size to a tenth of the rows if the test rows have no source of their own."""
        if isinstance(values, dict) and values.get("source") is None and "size" not in values:
            return values | {"size": 0.1}
        return values


class DatasetSettings(Block):
    """A data set: its source, and the steps that turn it into training and test rows.

    [The steps](own-data.md#steps) run in the order of this table.
    """

    source: Annotated[
        HubData | PypiData | UrlData | PathData | Mixture, Field(discriminator="kind")
    ] = Field(description="Where the rows come from.")
    format: FileFormat | None = Field(
        None,
        description="How files become rows. The default follows the file names. The hub needs "
        "none.",
    )
    class_labels: Literal["names", "numbers"] = Field(
        "names",
        description="What [classes with names](own-data.md#class-names) become: their names, as "
        "text, or the numbers that the file stores.",
    )
    rename: dict[NonEmptyStr, NonEmptyStr] = Field(
        {},
        description="Columns to rename, old name to new name. Everything below uses the new names.",
    )
    derive: dict[NonEmptyStr, JinjaTemplate] = Field(
        {},
        description="New text columns from [templates](own-data.md#templates), in this order. "
        "A template sees the row's columns, earlier derived ones, and `file`.",
    )
    filter: JinjaExpression | None = Field(
        None, description="Keep rows for which this expression is true, for example `stars > 3`."
    )
    columns: (
        Annotated[list[NonEmptyStr], Field(min_length=1), AfterValidator(require_unique)] | None
    ) = Field(None, description="Keep only these columns. The default keeps all.")
    deduplicate_by: list[NonEmptyStr] = Field(
        [], description="Keep the first of several rows that are equal in all of these columns."
    )
    deduplicate_as: Literal["exact", "normalised"] = Field(
        "exact",
        description="`normalised` ignores letter case, punctuation, spaces and Unicode variants.",
    )
    shuffle_seed: Integer | None = Field(
        None,
        description="Shuffle the rows by this seed. Without it they keep the order of the files.",
    )
    limit: PositiveInt | None = Field(None, description="Keep the first rows.")
    test: TestSplitSettings = Field(
        TestSplitSettings(), description="Rows held out from every client."
    )
    licence: NonEmptyStr | None = Field(
        None,
        description="License for the model card and the report. The default is the one that "
        "the source names.",
    )

    @model_validator(mode="after")
    def _reject_keys_of_mixture(self) -> "DatasetSettings":
        if isinstance(self.source, Mixture):
            for key in ("format", "class_labels", "test"):
                if key in self.model_fields_set:
                    raise ValueError(
                        f"{key} has no place beside a mixture: its rows are those of its data "
                        "sets, test rows included"
                    )
        return self
