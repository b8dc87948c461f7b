"""One schema for rows that come from many places."""

import pyarrow as pa

from blossomtune.errors import UserError


def unify_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """The columns of both, those of ``one`` first.

    Whole and fractional numbers may meet in a column, nulls and anything, and objects with other
    fields; inside lists and objects, too.

    Raises:
        UserError: where a column has types that do not go together.
    """
    if one.equals(other):
        return one
    try:
        return pa.unify_schemas([one, other], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        for field in one:
            at = other.get_field_index(field.name)
            if at >= 0 and not _are_compatible(field, other.field(at)):
                raise UserError(
                    f"column {field.name!r} has the type {field.type} in some rows and "
                    f"{other.field(at).type} in others"
                ) from None
        raise


def _are_compatible(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False
    return True


def cast_to_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in some or all columns of what ``unify`` made; what it does not have is null.

    Raises:
        UserError: where a number is too large for the type that its column has in other rows.
    """
    if batch.schema.equals(schema):
        return batch
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        values = pa.nulls(batch.num_rows) if at < 0 else batch.column(at)
        try:
            arrays.append(values.cast(field.type))
        except pa.ArrowInvalid as error:
            raise UserError(f"column {field.name!r}: {str(error).splitlines()[0]}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
