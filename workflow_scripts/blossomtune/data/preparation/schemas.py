"""Unification of Arrow schemas."""

import pyarrow as pa

from blossomtune.errors import UserError


def unify_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return a schema with the columns of both, those of ``one`` first.

    Integers and floats are compatible, nulls and any type, and structs with different fields; also
    inside lists and structs.

    Args:
        one: a schema.
        other: another schema.

    Returns:
        The unified schema.

    Raises:
        UserError: if a column has incompatible types.
    """
    if one.equals(other):
        return one
    try:
        return pa.unify_schemas([one, other], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        for field in one:
            index = other.get_field_index(field.name)
            if index >= 0 and not _are_compatible(field, other.field(index)):
                raise UserError(
                    f"column {field.name!r} has the type {field.type} in some rows and "
                    f"{other.field(index).type} in others"
                ) from None
        raise


def _are_compatible(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False
    return True


def cast_to_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast a batch to a unified schema; columns that it lacks become null.

    Args:
        batch: the rows.
        schema: some or all columns of a schema from ``unify_schemas``.

    Returns:
        The rows in this schema.

    Raises:
        UserError: if a number is too large for its column's unified type.
    """
    if batch.schema.equals(schema):
        return batch
    arrays = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        values = pa.nulls(batch.num_rows) if index < 0 else batch.column(index)
        try:
            arrays.append(values.cast(field.type))
        except pa.ArrowInvalid as error:
            raise UserError(f"column {field.name!r}: {str(error).splitlines()[0]}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
