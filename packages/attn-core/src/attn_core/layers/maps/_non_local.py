"""Non-local attention."""

from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import attend
from attn_core._ops.tokens import size, to_image, to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor
from attn_core._weights.entries import Entry, Schemes
from attn_core.layers._base import ANY_SPACE, ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._maps import Attention, Map
from attn_core.layers._normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="attn_core")
class NonLocalAttention(ImageLayer):
    r"""Non-local attention: adds batch-normalized dot-product attention between all positions to x.

    Query t, key p and value g are linear maps of the positions to fewer than C channels. There is
    one head. A linear map projects its output back to C channels, and batch normalization follows.
    In the paper, this is the embedded Gaussian form of the non-local block:

    $$y = x + \mathrm{BN}\bigl(\mathrm{softmax}(t\,p^\top / \sqrt{d})\,g\,W_z + b_z\bigr)$$

    With `pool_size` s above 1, p and g are computed from the maximum over each s x s window of x.
    The weight and the bias of BN are initialised to 0, so at first the output equals the input.

    Args:
        reduction: Factor by which t, p and g are narrower than C; their width d is
            `max(1, C // reduction)`.
        use_scale: Whether the scores are divided by the square root of d.
        pool_size: Size s of the windows; rows and columns that do not fill a window are left out. 1
            means that p and g are computed from x itself.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic, and must be at least
            `pool_size`. Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too,
            with `pool_size=1`.
        training: Whether batch normalization uses the statistics of the batch.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention map,
        `(B, 1, H * W, (H // pool_size) * (W // pool_size))`.

    Raises:
        ValueError: If an argument is not as described, the image is smaller than a window, or the
            input is not an image, signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> NonLocalAttention(pool_size=2)(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1711.07971. The outputs are the same as those of `NonLocal` of
        BA-Transform/BAT-Image-Classification, which is facebookresearch/video-nonlocal-net in
        PyTorch. Weights of timm's `NonLocalAttn` load too, and give timm's outputs: timm divides
        the scores by the square root of C, so if `use_scale` is set, the loader multiplies the
        weights of t by $\sqrt{d / C}$. Its d is C / 8, rounded to a multiple of 8.

    Differs from the paper:
        There is no difference; the paper has four forms, and this is the one that it uses in its
        experiments. As in the released Caffe2 code, the maximum is computed before the dense
        layers, which several ports to PyTorch do not do; in that code `pool_size` is 2. The bias of
        p adds the same number to all scores of a query, so it has no effect and no gradient.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Attention(""),)
    split: ClassVar[dict[str, Split]] = {"project": "inputs"}

    def __init__(
        self,
        reduction: int = 2,
        *,
        use_scale: bool = True,
        pool_size: int = 1,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.use_scale: bool = checks.flag(self, "use_scale", use_scale)
        self.pool_size: int = checks.integer(self, "pool_size", pool_size)
        if self.pool_size > 1:  # windows of two axes
            self.spatial_axes = (2,)

    def build(self, input_shape: Shape) -> None:
        """Create the projections and the norm."""
        channels = self.check_channels(input_shape)
        self._check_size(input_shape)
        inner = max(1, channels // self.reduction)
        self.query: keras.layers.Dense = dense(self, channels, inner, "query")
        self.key: keras.layers.Dense = dense(self, channels, inner, "key")
        self.value: keras.layers.Dense = dense(self, channels, inner, "value")
        self.project: keras.layers.Dense = dense(self, inner, channels, "project")
        self.project_norm: BatchNormalization = child(
            self,
            BatchNormalization,
            shape=(*(None for _ in input_shape[1:]), channels),
            gamma_initializer="zeros",
            name="project_norm",
        )

    def call(
        self, x: Tensor, training: bool | None = None, return_attention_scores: bool = False
    ) -> Tensor | tuple[Tensor, Any]:
        """Attend from every position of `x` to all positions, or to all windows."""
        self._check_size(tuple(x.shape))
        x = self.to_channels_last(x)
        source = x
        if self.pool_size > 1:
            source = ops.max_pool(x, self.pool_size, self.pool_size, "valid", "channels_last")
        # One head: (B, N, 1, C) and (B, keys, 1, C).
        queries, keys = (ops.expand_dims(to_tokens(image), 2) for image in (x, source))
        output, attention = attend(
            self.query(queries),
            self.key(keys),
            self.value(keys),
            scale=None if self.use_scale else 1.0,
            return_attention_scores=return_attention_scores,
        )
        output = self.project(to_image(output, *size(x)))  # (B, ..., C)
        output = x + self.project_norm(output, training=training)
        return self.result(self.from_channels_last(output), attention, return_attention_scores)

    def _check_size(self, shape: Shape) -> None:
        sides = self.channels_last_shape(shape)[1:-1]
        if any(side is not None and side < self.pool_size for side in sides):
            message = f"height and width must be at least pool_size={self.pool_size}."
            raise checks.error(self, message, f"height and width {sides}")

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention map."""
        batch, *sides, _ = self.channels_last_shape(input_shape)
        pooled = (None if side is None else side // self.pool_size for side in sides)
        return batch, 1, positions(*sides), positions(*pooled)

    def torch_names(self) -> Schemes:
        """Name the parameters as BA-Transform/BAT-Image-Classification does, or as timm does."""
        shared = {"p": self.key, "g": self.value, "z": self.project}
        authors = shared | {"t": self.query, "bn": self.project_norm}
        timm = shared | {
            "t.weight": self._timm_query(self.query.kernel),
            "t.bias": self._timm_query(self.query.bias),
            "norm": self.project_norm,
        }
        return Schemes(authors=authors, timm=timm)

    def _timm_query(self, variable: keras.Variable) -> Entry:
        """Return the entry of a weight of t, for the scale of timm's scores."""
        channels, width = self.query.kernel.shape
        factor = (width / channels) ** 0.5 if self.use_scale else 1.0

        def convert(array: np.ndarray) -> tuple[np.ndarray, ...]:
            return (array.T * np.asarray(factor, array.dtype),)

        return Entry(tuple(variable.shape[::-1]), (variable,), convert)
