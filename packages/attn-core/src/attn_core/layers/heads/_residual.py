"""Class-specific residual attention."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.eager import matmul, reshape
from attn_core._ops.entries import split_at
from attn_core._ops.precision import softmax, upcast
from attn_core._ops.tokens import to_tokens
from attn_core._typing import ImageArguments, Shape, Tensor, TorchNames
from attn_core.layers._base import ANY_SPACE, ImageLayer, positions
from attn_core.layers._children import child
from attn_core.layers._dense import Dense
from attn_core.layers._maps import Attention, Map


def _temperature(owner: Any, name: str, value: Any) -> float:
    # JSON has no infinity: a file holds its name.
    infinite = isinstance(value, (str, Real)) and value in ("inf", math.inf)
    return math.inf if infinite else float(checks.number(owner, name, value, 0.0))


@keras.saving.register_keras_serializable(package="attn_core")
class ResidualAttention(ImageLayer):
    r"""Class-specific residual attention: a classifier with a spatial attention for each class.

    A linear classifier computes a score for every position and class. The logit of a class is its
    mean score, plus `lam` times the average of its scores weighted by the attention of this class.
    There may be several heads, each with its own temperature T and classifier W; their logits are
    added:

    $$s = x\,W / \lVert W \rVert \qquad a = \mathrm{softmax}_{hw}(T s) \qquad
    y = \sum_{heads} \big(\mathrm{mean}_{hw}(s) + \lambda \textstyle\sum_{hw} a\,s\big)$$

    Args:
        num_classes: Number of classes.
        lam: Factor of the average weighted by attention, which is added to the mean score.
        temperatures: One temperature per head, each 0 or more. `float("inf")`, or "inf", is max
            pooling.
        normalize: Whether the weights of each class are divided by their Euclidean norm.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic. Signals, `(B, T, C)`,
            and volumes, `(B, D, H, W, C)`, are accepted too.
        return_attention_scores: Whether to return the attention too.

    Returns:
        Logits, `(B, num_classes)`; with `return_attention_scores=True` also the attention of every
        head, `(B, heads, num_classes, H * W)`. If the temperature is infinite, the attention is 1
        at the position of the maximum; if several positions have this maximum, they share it
        equally, as in the limit of the softmax.

    Raises:
        ValueError: If an argument is of the wrong kind or range, or the input is not an image,
            signal or volume of a known number of channels.

    Example:
        >>> import numpy as np
        >>> x = np.ones((2, 7, 7, 32))
        >>> ResidualAttention(10, temperatures=(1, float("inf")))(x).shape
        (2, 10)

    Reference:
        arXiv:2108.02456. The outputs are the same as those of Kevinz-code/CSRA `CSRA` for one
        temperature, and of its `MHA` for several. The released networks always contain an `MHA`:
        load a checkpoint of one head with the prefix "classifier.multi_head.0.".

    Differs from the paper:
        Scores are divided by the norm of the classifier, as in the released code. That code writes
        max pooling as T = 99; here 99 is a temperature like any other. A class whose weights are
        all zero gets the logit 0 instead of NaN. The External-Attention collections have only one
        head with infinite temperature, and do not divide by the norm:
        `temperatures=("inf",), normalize=False`.
    """

    spatial_axes = ANY_SPACE
    maps: ClassVar[tuple[Map, ...]] = (Attention(queries="class"),)

    def __init__(
        self,
        num_classes: int,
        *,
        lam: float = 0.2,
        temperatures: Sequence[float | str] = (1.0,),
        normalize: bool = True,
        **kwargs: Unpack[ImageArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes: int = checks.integer(self, "num_classes", num_classes)
        self.lam: float = checks.number(self, "lam", lam)
        self.temperatures: tuple[float, ...] = checks.sequence(
            self, "temperatures", temperatures, _temperature
        )
        self.normalize: bool = checks.flag(self, "normalize", normalize)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, infinity as "inf" because JSON has no infinity."""
        temperatures = tuple("inf" if t == math.inf else t for t in self.temperatures)
        return {**super().get_config(), "temperatures": temperatures}

    def build(self, input_shape: Shape) -> None:
        """Create one classifier per head."""
        channels = self.check_channels(input_shape)
        names = [f"classifier_{index}" for index in range(len(self.temperatures))]
        options = {"use_bias": False, "quantizable": False}
        self.classifiers: list[Dense] = [
            child(self, Dense, self.num_classes, shape=(None, channels), name=name, **options)
            for name in names
        ]

    def call(self, x: Tensor, return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Any]:
        """Classify `x`."""
        heads, classes = len(self.temperatures), self.num_classes
        scores = self._scores(to_tokens(self.to_channels_last(x)))  # (B, N, heads * classes)
        attention = self._attention(scores)
        logits = ops.mean(scores, axis=1) + self.lam * ops.sum(scores * attention, axis=1)
        logits = ops.sum(reshape(logits, (-1, heads, classes)), axis=1)  # (B, classes)
        attention = reshape(attention, (-1, ops.shape(scores)[1], heads, classes))
        attention = ops.cast(ops.transpose(attention, (0, 2, 3, 1)), x.dtype)
        return self.result(ops.cast(logits, x.dtype), attention, return_attention_scores)

    def _scores(self, x: Tensor) -> Tensor:
        """Compute the scores of all heads at once, in at least float32."""
        kernel = upcast(ops.concatenate([c.kernel for c in self.classifiers], axis=1))
        if self.normalize:  # the kernel has fewer numbers to divide than the scores
            squares = ops.sum(ops.square(kernel), axis=0)
            kernel = kernel * ops.rsqrt(ops.maximum(squares, 1e-24))
        return upcast(matmul(x, ops.cast(kernel, x.dtype)))

    def _attention(self, scores: Tensor) -> Tensor:
        """Compute the attention of all heads over N, of the shape of the scores."""
        temperatures, classes = self.temperatures, self.num_classes
        if len(temperatures) == 1:
            return self._attend(scores, temperatures[0])
        parts = split_at(scores, *(classes * head for head in range(1, len(temperatures))))
        maps = [self._attend(*pair) for pair in zip(parts, temperatures, strict=True)]
        return ops.concatenate(maps, axis=-1)

    def _attend(self, scores: Tensor, temperature: float) -> Tensor:
        """Compute the attention of one head from its scores, `(B, N, classes)`, over N."""
        if temperature != math.inf:
            return softmax(temperature * scores, axis=1)
        peaks = ops.cast(scores >= ops.max(scores, axis=1, keepdims=True), scores.dtype)
        return peaks / ops.sum(peaks, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the logits."""
        return input_shape[0], self.num_classes

    def compute_attention_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the attention of all heads."""
        batch, *size, _ = self.channels_last_shape(input_shape)
        return batch, len(self.temperatures), self.num_classes, positions(*size)

    def torch_names(self) -> TorchNames:
        """Name the parameters as Kevinz-code/CSRA does: `CSRA`, or `MHA` for several heads."""
        if len(self.classifiers) == 1:
            return {"head": self.classifiers[0]}
        return {f"multi_head.{i}.head": c for i, c in enumerate(self.classifiers)}
