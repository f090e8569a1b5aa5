"""Positions of keys relative to queries: learned vectors that score."""

import numpy as np
from keras import ops

from attn_core._ops.entries import take
from attn_core._ops.precision import upcast
from attn_core._typing import Tensor


def relative_scores(query: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Score each key by its offset from the query: q . (r of its rows + r of its columns).

    Queries and keys lie on a grid each. A key in row i of its grid and a query in row j of its own,
    both counted from 0, use entry i - j + key rows - 1 of the table of rows; columns likewise.

    Args:
        query: `(B, query rows, query columns, heads, d)`.
        rows: The table of rows, `(2 * key rows - 1, d)`.
        columns: The table of columns, `(2 * key columns - 1, d)`.

    Returns:
        `(B, heads, queries, keys)` in float32 at least; both in the order of rows, then columns.
    """
    query = upcast(query)
    (height, width), heads = query.shape[1:3], ops.shape(query)[3]
    by_row = ops.einsum("nrchd,rid->nhrci", query, _by_offset(rows, height, query.dtype))
    by_column = ops.einsum("nrchd,cjd->nhrcj", query, _by_offset(columns, width, query.dtype))
    scores = ops.expand_dims(by_row, 5) + ops.expand_dims(by_column, 4)  # (.., r, c, i, j)
    return ops.reshape(scores, (-1, heads, height * width, scores.shape[4] * scores.shape[5]))


def _by_offset(table: Tensor, queries: int, dtype: str) -> Tensor:
    """Return the entry of a table for each query and key of one axis, `(queries, keys, d)`."""
    table, keys = ops.cast(table, dtype), (table.shape[0] + 1) // 2
    queries = int(queries)  # a tensor while PyTorch's exporter traces, which NumPy does not take
    index = np.subtract.outer(np.arange(keys), np.arange(queries)).T + keys - 1
    return take(table, index.astype("int32"), axis=0)
