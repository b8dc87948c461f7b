"""Reader of Excel workbooks."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import python_calamine

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources.read_errors import make_read_error
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError, abbreviate, find_closest_match

_MAX_EXACT_INTEGER = 2**53
"""Excel's numbers are float64; integers are exact up to this one."""

_NumberedRow = tuple[int, list[Any]]
"""Number and values of a row of the sheet; empty cells are None."""


def read_batches(
    path: Path, source: IO[bytes] | str, file_format: FileFormat, log: ReadingLog
) -> Iterator[pa.RecordBatch]:
    """Read a sheet, which is in memory as a whole.

    Numbers without fractions are int64 if the whole column is. A column with values of several
    kinds becomes text. Empty rows, and columns without a name and values, are left out.

    Args:
        path: the file, for messages.
        source: its path, or its open content.
        file_format: the keys ``sheet`` (the default is the only visible one) and ``columns``.
        log: the log to add the file to.

    Yields:
        All rows at once.

    Raises:
        UserError: if the workbook cannot be read, or sheet or header row do not fit.
    """
    try:
        with python_calamine.CalamineWorkbook.from_object(source) as workbook:
            name = _select_sheet(path, workbook, file_format.sheet)
            rows = list(_iter_rows(workbook.get_sheet_by_name(name)))
    except python_calamine.PasswordError:
        raise UserError(f"{path.name} has a password", "save it without one") from None
    except python_calamine.CalamineError as error:
        raise make_read_error(path, "xlsx", error) from None
    log.add(path.name, "xlsx", sheet=name, detected=[] if file_format.sheet else ["sheet"])
    location = f"{path.name}, sheet {name!r}"
    if file_format.columns:
        names = list(file_format.columns)
    else:
        names = _read_header(location, rows.pop(0) if rows else (1, []))
    _require_named_columns(location, names, rows)
    columns = [_make_column([row[i] for _, row in rows]) for i in range(len(names))]
    yield pa.RecordBatch.from_arrays(columns, names)


def _select_sheet(path: Path, workbook: python_calamine.CalamineWorkbook, name: str | None) -> str:
    """Return the name of the sheet to read."""
    worksheets = [
        sheet
        for sheet in workbook.sheets_metadata
        if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet
    ]
    names = [sheet.name for sheet in worksheets]
    if name in names:
        return name
    visible = [
        sheet.name
        for sheet in worksheets
        if sheet.visible == python_calamine.SheetVisibleEnum.Visible
    ]
    if name is None and len(visible) == 1:
        return visible[0]
    match = find_closest_match(name, names) if name else None
    raise UserError(
        f"format.sheet: {path.name} has "
        + (f"no sheet {name!r}" if name else "more than one sheet")
        + (f"; did you mean {match!r}?" if match else "")
        + f"; sheets: {', '.join(names)}"
    )


def _iter_rows(sheet: python_calamine.CalamineSheet) -> Iterator[_NumberedRow]:
    """Yield the rows that are not empty, all of the same width."""
    for number, cells in enumerate(sheet.iter_rows(), 1):
        values = [None if value == "" else value for value in cells]
        if any(value is not None for value in values):
            yield number, values


def _read_header(location: str, header: _NumberedRow) -> list[str]:
    """Return the names of the first row, without empty cells at its end."""
    number, cells = header
    names = list(cells)
    while names and names[-1] is None:
        names.pop()
    if not names:
        raise UserError(f"{location} is empty")
    for name in names:
        if name is not None and not isinstance(name, str):
            raise UserError(
                f"{location}: row {number} is no header, for it has the value {_to_text(name)}",
                "format: {columns: [names]} is for a sheet without header",
            )
    return names


def _require_named_columns(location: str, names: list[str], rows: list[_NumberedRow]) -> None:
    """Remove empty columns without a name; raise UserError if a column with values has none."""
    for i in reversed(range(len(names))):
        if names[i] is None and all(row[i] is None for _, row in rows):
            del names[i]
            for _, row in rows:
                del row[i]
    for number, row in rows:
        row += [None] * (len(names) - len(row))
        unnamed = [value for i, value in enumerate(row) if i >= len(names) or names[i] is None]
        for value in unnamed:
            if value is not None:
                shown = abbreviate(_to_text(value))
                raise UserError(
                    f"{location}: row {number} has the value {shown} in a column without a name",
                    "name it in the header row or in format.columns, or empty it",
                )


def _make_column(values: list[Any]) -> pa.Array:
    """Return values as an array of the narrowest type that shows them as the sheet does."""
    types = {type(value) for value in values if value is not None}
    if not types:
        return pa.nulls(len(values))
    if types <= {int, float}:
        numbers = [value for value in values if value is not None]
        if all(float(n).is_integer() and abs(n) <= _MAX_EXACT_INTEGER for n in numbers):
            return pa.array([None if value is None else int(value) for value in values])
        return pa.array(values, pa.float64())
    if types == {datetime.date, datetime.datetime}:  # midnight is a date
        return pa.array([value and _to_datetime(value) for value in values], pa.timestamp("us"))
    if len(types) == 1 and types != {datetime.timedelta}:  # Parquet has no durations
        return pa.array(values)
    return pa.array([None if value is None else _to_text(value) for value in values])


def _to_datetime(value: datetime.date) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()  # as Excel shows it
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MAX_EXACT_INTEGER:
        return str(int(value))
    return str(value)
