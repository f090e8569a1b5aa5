"""Class-specific residual attention."""

import math
from numbers import Real

import keras
from keras import ops

from attn_core.layers.base import ImageLayer
from attn_core.layers.dense import Dense
from attn_core.ops.precision import upcast


@keras.saving.register_keras_serializable(package="attn_core")
class ResidualAttention(ImageLayer):
    r"""Class-specific residual attention: a classifier that looks for each class where it shows.

    A linear classifier scores every position for every class. The logit of a class is its mean
    score, plus `lam` times its score averaged by a spatial attention of its own; several heads,
    each with a temperature T and a classifier W of its own, are summed:

    $$s = x\,W / \lVert W \rVert \qquad a = \mathrm{softmax}_{hw}(T s) \qquad
    y = \sum_{heads} \big(\mathrm{mean}_{hw}(s) + \lambda \textstyle\sum_{hw} a\,s\big)$$

    Args:
        num_classes: Number of classes.
        lam: Weight of the attention's logit beside the mean's.
        temperatures: One temperature per head: 0 or more. `float("inf")` (or "inf") is max pooling.
        normalize: Whether each class' weights are divided by their Euclidean norm.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.
        return_attention_scores: Whether to return the attention too.

    Returns:
        Logits, `(B, num_classes)`; with `return_attention_scores=True` also the attention of every
        head, `(B, heads, num_classes, H * W)`. At temperature infinity it is one-hot; positions
        that tie for the maximum share it, as in the limit of the softmax.

    Raises:
        ValueError: If an argument is of the wrong kind or range, or the input is not an image of a
            known number of channels.

    Example:
        >>> import numpy as np
        >>> x = np.ones((2, 7, 7, 32))
        >>> ResidualAttention(10, temperatures=(1, float("inf")))(x).shape
        (2, 10)

    Reference:
        Zhu, Wu, "Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
        ICCV 2021, arXiv:2108.02456; numbers as Kevinz-code/CSRA: `CSRA` for one temperature, `MHA`
        for several (the released networks always hold an `MHA`: load a one-head checkpoint with
        the prefix "classifier.multi_head.0.").

    Differs from the paper:
        Scores are divided by the norm of the classifier, as in the released code. That code writes
        max pooling as T = 99; here 99 is a temperature like any other. A class whose weights are
        all zero gets the logit 0 rather than NaN. The External-Attention collections know one head
        of temperature infinity, without the norm: `temperatures=("inf",), normalize=False`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        lam: float = 0.2,
        temperatures: tuple = (1.0,),
        normalize: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = self.integer("num_classes", num_classes)
        self.lam = self.number("lam", lam)
        self.temperatures = self.sequence("temperatures", temperatures, self._temperature)
        self.normalize = self.flag("normalize", normalize)

    def _temperature(self, name, value) -> float:
        # A JSON file has no infinity, so its name will do.
        endless = isinstance(value, (str, Real)) and value in ("inf", math.inf)
        return math.inf if endless else float(self.number(name, value, 0.0))

    def build(self, input_shape):
        """Create one classifier per head."""
        _, _, channels = self.check_image(input_shape)
        self.classifiers = [
            Dense(self.num_classes, use_bias=False, name=f"classifier_{i}", dtype=self.dtype_policy)
            for i in range(len(self.temperatures))
        ]
        for classifier in self.classifiers:
            classifier.build((None, channels))

    def call(self, x, return_attention_scores=False):
        """Classify `x`."""
        scores = self._scores(self.to_channels_last(x))  # (B, heads, classes, N)
        attention = ops.stack(
            [self._attend(scores[:, i], t) for i, t in enumerate(self.temperatures)], axis=1
        )
        logits = ops.mean(scores, axis=-1) + self.lam * ops.sum(scores * attention, axis=-1)
        logits = ops.cast(ops.sum(logits, axis=1), x.dtype)  # (B, classes)
        return self.result(logits, ops.cast(attention, x.dtype), return_attention_scores)

    def _scores(self, x):
        """Score the positions of `x` by all heads at once, in at least float32."""
        kernel = upcast(ops.concatenate([c.kernel for c in self.classifiers], axis=1))
        if self.normalize:  # fewer numbers to divide than in the scores
            squares = ops.sum(ops.square(kernel), axis=0)
            kernel = kernel * ops.rsqrt(ops.maximum(squares, 1e-24))
        scores = ops.matmul(x, ops.cast(kernel, x.dtype))  # (B, H, W, heads * classes)
        shape = (ops.shape(x)[0], -1, len(self.classifiers), self.num_classes)
        return ops.transpose(ops.reshape(upcast(scores), shape), (0, 2, 3, 1))

    def _attend(self, scores, temperature):
        """Attend to the positions, `(B, classes, N)`, of high score."""
        if temperature != math.inf:
            return ops.softmax(temperature * scores)
        peaks = ops.cast(scores >= ops.max(scores, axis=-1, keepdims=True), scores.dtype)
        return peaks / ops.sum(peaks, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the shape of the logits."""
        return input_shape[0], self.num_classes

    def compute_attention_shape(self, input_shape) -> tuple:
        """Return the shape of the attention of all heads."""
        batch, height, width, _ = self.channels_last_shape(input_shape)
        positions = None if None in (height, width) else height * width
        return batch, len(self.temperatures), self.num_classes, positions

    def torch_names(self) -> dict:
        """Name the parameters as Kevinz-code/CSRA does: `CSRA`, or `MHA` for several heads."""
        if len(self.classifiers) == 1:
            return {"head": self.classifiers[0]}
        return {f"multi_head.{i}.head": c for i, c in enumerate(self.classifiers)}
