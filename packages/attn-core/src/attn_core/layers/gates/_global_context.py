"""Global context (GCNet)."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.eager import matmul
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.tokens import spatial, to_image, to_tokens
from attn_core._typing import ImageArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import Schemes
from attn_core.layers._base import ANY_SPACE, AttentionLayer, ImageLayer, Split, positions
from attn_core.layers._children import child, dense
from attn_core.layers._maps import Attention, Map
from attn_core.layers._normalization import LayerNormalization

FUSIONS = ("add", "multiply")


class ContextBranch(AttentionLayer):
    """Two dense layers with a norm and a relu between them; the second is initialised to 0.

    Args:
        width: Width between the two.
        **kwargs: Keras' own layer arguments.
    """

    split: ClassVar[dict[str, Split]] = {"excite": "inputs"}

    def __init__(self, width: int, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.width: int = width

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers and the norm."""
        channels = input_shape[-1]
        self.squeeze: keras.layers.Dense = dense(self, channels, self.width, "squeeze")
        self.squeeze_norm: LayerNormalization = child(
            self,
            LayerNormalization,
            shape=(None, self.width),
            epsilon=1e-5,
            name="squeeze_norm",
        )
        self.excite: keras.layers.Dense = dense(
            self, self.width, channels, "excite", kernel_initializer="zeros"
        )

    def call(self, context: Tensor) -> Tensor:
        """Transform the context, `(..., C)`."""
        return self.excite(ops.relu(self.squeeze_norm(self.squeeze(context))))


@keras.saving.register_keras_serializable(package="attn_core")
class GlobalContextAttention(ImageLayer):
    r"""Global context: adds a weighted mean of the image, after two dense layers, to all positions.

    A softmax over the positions, the same for every query, gives one weighted mean of the image.
    From this mean, two dense layers compute an offset, a gate, or both, for each channel:

    $$a = \mathrm{softmax}_{hw}(w \cdot x + b), \quad c = \textstyle\sum_{hw} a\,x, \quad
    f(c) = W_2\,\mathrm{relu}(\mathrm{LN}(W_1\,c + b_1)) + b_2$$
    $$y = x \cdot \sigma(f_\mathrm{multiply}(c)) + f_\mathrm{add}(c)$$

    $f_\mathrm{multiply}$ and $f_\mathrm{add}$ have separate weights; each is used only if `fusion`
    names it. LN is the layer normalization over the hidden channels, with $\epsilon = 10^{-5}$.
    $W_2$ is initialised to 0, so with `fusion=("add",)` the output at first equals the input.

    Args:
        reduction: Factor by which the hidden width is smaller than C; the width is
            `max(1, C // reduction)`.
        fusion: What the context does: "add", "multiply" or both, in any order.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the attention over the positions too.

    Returns:
        Image of the input's shape; with `return_attention_scores=True` also the attention,
        `(B, 1, 1, H * W)` in both data formats.

    Raises:
        ValueError: If `reduction` is not a positive integer, `fusion` does not contain one or both
            of its values once, or the input is not an image, signal or volume of a known number of
            channels.

    Example:
        >>> import numpy as np
        >>> GlobalContextAttention(fusion=("multiply", "add"))(np.ones((2, 7, 7, 32))).shape
        (2, 7, 7, 32)

    Reference:
        arXiv:1904.11492. The outputs are the same as those of xvjiarui/GCNet `ContextBlock` with
        `pooling_type="att"`, whose `ratio` is 1 / `reduction`. Weights of timm's `GlobalContext`
        load too; the epsilon of its norm is 1e-6.

    Differs from the paper:
        The paper's block only adds; the released code can multiply too. The bias b adds the same
        number to all scores of the softmax and changes no output. If the hidden width is 1, the
        output of the norm is constant.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Attention("", "context"),)

    def __init__(
        self,
        reduction: int = 16,
        *,
        fusion: Sequence[str] = ("add",),
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.reduction: int = checks.integer(self, "reduction", reduction)
        self.fusion: tuple[str, ...] = checks.sequence(
            self, "fusion", fusion, partial(checks.choice, choices=FUSIONS)
        )
        if len(set(self.fusion)) < len(self.fusion):
            raise checks.error(self, "`fusion` must hold each value once.", f"fusion={fusion!r}")

    def build(self, input_shape: Shape) -> None:
        """Create the scores of the positions and a branch for each fusion."""
        channels = self.check_channels(input_shape)
        width = max(1, channels // self.reduction)
        shape = (None, channels)
        self.score: keras.layers.Dense = dense(self, channels, 1, "score")
        if "multiply" in self.fusion:
            self.scale: ContextBranch = child(self, ContextBranch, width, shape=shape, name="scale")
        if "add" in self.fusion:
            self.shift: ContextBranch = child(self, ContextBranch, width, shape=shape, name="shift")

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Gather the context of `x` and hand it out."""
        x = self.to_channels_last(x)
        tokens = to_tokens(x)
        scores = ops.transpose(upcast(self.score(tokens)), (0, 2, 1))
        attention = softmax(scores)  # (B, 1, N)
        context = ops.cast(matmul(attention, upcast(tokens)), x.dtype)
        context = to_image(context, *(1 for _ in spatial(x)))  # (B, 1, ..., C)
        if "multiply" in self.fusion:
            x = x * ops.sigmoid(self.scale(context))
        if "add" in self.fusion:
            x = x + self.shift(context)
        attention = ops.expand_dims(ops.cast(attention, x.dtype), 1)  # (B, 1, 1, N)
        return self.result(self.from_channels_last(x), attention, return_attention_scores)

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention over the positions."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        return batch, 1, 1, positions(*size)

    def torch_names(self) -> Schemes:
        """Name the parameters as xvjiarui/GCNet does, or as timm does."""
        authors: TorchNames = {"conv_mask": self.score}
        timm: TorchNames = {"conv_attn": self.score}
        if "multiply" in self.fusion:
            authors |= _named(self.scale, "channel_mul_conv", ("0", "1", "3"))
            timm |= _named(self.scale, "mlp_scale", ("fc1", "norm", "fc2"))
        if "add" in self.fusion:
            authors |= _named(self.shift, "channel_add_conv", ("0", "1", "3"))
            timm |= _named(self.shift, "mlp_add", ("fc1", "norm", "fc2"))
        return Schemes(authors=authors, timm=timm)


def _named(branch: ContextBranch, prefix: str, names: tuple[str, str, str]) -> TorchNames:
    layers = (branch.squeeze, branch.squeeze_norm, branch.excite)
    return {f"{prefix}.{name}": layer for name, layer in zip(names, layers, strict=True)}
