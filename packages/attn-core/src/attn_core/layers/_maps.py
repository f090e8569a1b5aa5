"""What the axes of an attention map are: each layer declares it, tools read it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """Factors of the input: a map that broadcasts against it."""


@dataclass(frozen=True)
class Branches:
    """The weight of each parallel branch, `(B, branches, C)`: their sum over the branches is 1."""


@dataclass(frozen=True)
class Attention:
    """Weights of keys for each query, `(B, heads, queries, keys)` or `(B, queries, keys)`.

    Attributes:
        heads: What the first axis is.
        queries: What the weights are for.
        keys: What is weighted.
    """

    heads: str = "head"
    queries: str = "position"
    keys: str = "position"


@dataclass(frozen=True)
class Windows:
    """Attention within windows of an image, `(B, heads, windows, queries, keys)`.

    The layer has the distance of its windows in `block_size` or `strides`, and how far they reach
    beyond the positions that they are for in `halo_size`, or half of `kernel_size`. Where the
    pixels of a window are not neighbours, it has their distance in `pixel_distance`; where the
    windows are those of an image rolled up and to the left, by how much in `shift`.
    """


@dataclass(frozen=True)
class Cross:
    """Attention of each position to its column and then to its row, `(B, heads, H * W, H + W)`.

    The position itself counts in its row.
    """


@dataclass(frozen=True)
class Lines:
    """Attention within the columns, `(B, heads, W, H, H)`, or within the rows, with H for W.

    Attributes:
        along: "column" or "row".
    """

    along: str


@dataclass(frozen=True)
class Nearest:
    """Attention of each position to its nearest ones, `(B, heads, H * W, k * k)`.

    The layer gives their rows and columns in `nearest_positions(height, width)`.
    """


Map = Gate | Branches | Attention | Windows | Cross | Lines | Nearest
