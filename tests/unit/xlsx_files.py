"""Write small xlsx files with the standard library."""

import datetime
import zipfile
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_CONTENT = "http://schemas.openxmlformats.org/package/2006/content-types"
_SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_EPOCH = datetime.datetime(1899, 12, 30)


class CellError(str):
    """An error value of a spreadsheet, such as ``#REF!``."""


def write_xlsx(path, sheets):
    """Write a workbook.

    Args:
        path: the file.
        sheets: rows by name of the sheet; None is an empty cell.
    """
    numbers = range(1, len(sheets) + 1)
    with zipfile.ZipFile(path, "w") as archive:
        parts = "".join(
            f'<Override PartName="/xl/worksheets/sheet{i}.xml" '
            f'ContentType="{_SPREADSHEET}.worksheet+xml"/>'
            for i in numbers
        )
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_CONTENT}"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/xl/workbook.xml" '
            f'ContentType="{_SPREADSHEET}.sheet.main+xml"/>'
            '<Override PartName="/xl/styles.xml" '
            f'ContentType="{_SPREADSHEET}.styles+xml"/>{parts}</Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" '
            f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        names = "".join(
            f'<sheet name="{escape(name)}" sheetId="{i}" r:id="rId{i}"/>'
            for i, name in zip(numbers, sheets, strict=True)
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        )
        relations = "".join(
            f'<Relationship Id="rId{i}" Type="{_OFFICE}/worksheet" '
            f'Target="worksheets/sheet{i}.xml"/>'
            for i in numbers
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}">{relations}<Relationship Id="rId0" '
            f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        )
        # cell formats: 0 general, 1 date (14), 2 date and time (22)
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{_MAIN}"><cellXfs count="3"><xf numFmtId="0"/>'
            '<xf numFmtId="14" applyNumberFormat="1"/><xf numFmtId="22" applyNumberFormat="1"/>'
            "</cellXfs></styleSheet>",
        )
        for i, rows in zip(numbers, sheets.values(), strict=True):
            data = "".join(_format_row(number, row) for number, row in enumerate(rows, 1))
            archive.writestr(
                f"xl/worksheets/sheet{i}.xml",
                f'<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>',
            )


def _format_row(number, row):
    cells = "".join(
        _format_cell(f"{chr(65 + column)}{number}", value) for column, value in enumerate(row)
    )
    return f'<row r="{number}">{cells}</row>'


def _format_cell(reference, value):
    match value:
        case None:
            return ""
        case bool():
            return f'<c r="{reference}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{reference}"><v>{value!r}</v></c>'
        case datetime.datetime():
            days = (value - _EPOCH) / datetime.timedelta(days=1)
            return f'<c r="{reference}" s="2"><v>{days!r}</v></c>'
        case datetime.date():
            return f'<c r="{reference}" s="1"><v>{(value - _EPOCH.date()).days}</v></c>'
        case CellError():
            return f'<c r="{reference}" t="e"><v>{value}</v></c>'
    # spreadsheets write a character that XML 1.0 has not, and carriage returns, as _xHHHH_
    text = "".join(
        f"_x{ord(c):04X}_" if c == "\r" or (c < " " and c not in "\t\n") else c for c in value
    )
    return (
        f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'
    )
