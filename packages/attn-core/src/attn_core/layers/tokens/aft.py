"""Attention free transformer: full, local, simple and convolutional."""

import keras
from keras import ops

from attn_core.layers.base import AttentionLayer, ImageLayer, TokenLayer
from attn_core.ops.convolution import conv2d
from attn_core.ops.precision import softmax, upcast

SPAN = 60.0
"""A position bias counts as at most this much below the greatest for the same target.

Sums of such exponentials are far above the smallest float32, 1e-38, and gradients, in which their
reciprocals are multiplied by values, far below the greatest.
"""


def shift(x, axis):
    """Subtract the maximum over `axis`, which cancels out of the means."""
    return x - ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))


def bias_exponential(bias):
    """Return exp(bias) up to a factor for each row; never so small that a row's sums vanish."""
    return ops.exp(ops.maximum(shift(bias, axis=-1), -SPAN))


def quotient(weighted, weights):
    """Return weighted / weights, with finite gradients however small the weights."""
    # JAX differentiates through 1 / weights**2, which would overflow: bring them to one first.
    scale = ops.stop_gradient(1.0 / weights)
    return (weighted * scale) / (weights * scale)


def distances(length):
    """Return the distances between `length` positions, `(length, length)`."""
    positions = ops.arange(0, length)
    return ops.abs(ops.expand_dims(positions, 1) - ops.expand_dims(positions, 0))


def sum_beyond(x, radius: int):
    """Sum each channel of an image over the pixels beyond the square of `radius` round each pixel.

    Without a subtraction, so that small sums keep their digits: the rows beyond it as a whole, the
    other rows left and right of it. As matrix products, which cost less than the convolution.
    """
    height, width, channels = ops.shape(x)[1], ops.shape(x)[2], x.shape[-1]
    beyond = ops.cast(distances(height) > radius, x.dtype)  # (H, H)
    aside = ops.cast(distances(width) > radius, x.dtype)  # (W, W)
    rows = ops.matmul(beyond, ops.sum(x, axis=2))  # (B, H, C)
    near = ops.matmul(1.0 - beyond, ops.reshape(x, (-1, height, width * channels)))
    near = ops.reshape(near, (-1, height, width, channels))
    return ops.expand_dims(rows, 2) + ops.matmul(aside, near)


class AttentionFreeLayer(AttentionLayer):
    """What the four forms share: the projections, the gate, the names of the weights."""

    def __init__(self, hidden_dim, output_dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = None if hidden_dim is None else self.integer("hidden_dim", hidden_dim)
        self.output_dim = None if output_dim is None else self.integer("output_dim", output_dim)

    def build_projections(self, channels: int, key_width: int | None = None):
        """Create the dense layers of query, key, value and output."""
        width = self.hidden_dim or channels

        def dense(name, inputs, units):
            layer = keras.layers.Dense(units, name=name, dtype=self.dtype_policy)
            layer.build((None, inputs))
            return layer

        self.query = dense("query", channels, width)
        self.key = dense("key", channels, key_width or width)
        self.value = dense("value", channels, width)
        self.project = self.output_dim and dense("project", width, self.output_dim)

    def gate(self, x, mean):
        """Gate the weighted means of the values by the queries, and project."""
        output = ops.sigmoid(self.query(x)) * ops.cast(mean, self.compute_dtype)
        return self.project(output) if self.project else output

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape, with the width of the output."""
        return (*input_shape[:-1], self.output_dim or self.hidden_dim or input_shape[-1])

    def torch_names(self) -> dict:
        """Name the parameters as rish-16/aft-pytorch does."""
        names = {"to_q": self.query, "to_k": self.key, "to_v": self.value}
        return names | ({"project": self.project} if self.project else {})


@keras.saving.register_keras_serializable(package="attn_core")
class AFTFull(AttentionFreeLayer, TokenLayer):
    r"""AFT-full: averages the values, weighed per channel by keys and by learned position biases.

    Each channel c of token t is a mean of that channel over all tokens, gated by the query; a bias
    w for every pair of positions, the same for all channels, stands in for the dot products:

    $$y_{tc} = \sigma(q_{tc}) \frac{\sum_s \exp(k_{sc} + w_{ts})\, v_{sc}}
        {\sum_s \exp(k_{sc} + w_{ts})}$$

    q, k and v are linear maps of the tokens with biases, and so is the projection of y, if any. As
    \(\exp(k + w) = \exp(k) \exp(w)\) both sums are one matrix product: memory is O(N^2 + N C), time
    O(N^2 C).

    Args:
        max_length: Greatest number of tokens; shorter inputs use the first rows and columns of w.
        hidden_dim: Width of query, key and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        factorize: Rank r of w = u v^T, with u and v of shape `(max_length, r)`; `None` = all of w.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`; N at most `max_length`, may be dynamic.

    Returns:
        Tokens, `(B, N, output_dim)`, or of width `hidden_dim`, or C, where that is `None`.

    Raises:
        ValueError: If an argument is not a positive integer, the input is not a batch of tokens of
            a known width, or has more than `max_length` of them.

    Example:
        >>> import numpy as np
        >>> AFTFull(max_length=64, output_dim=16)(np.ones((2, 49, 32))).shape
        (2, 49, 16)

    Reference:
        Zhai, Talbott, Srivastava, Huang, Goh, Zhang, Susskind, "An Attention Free Transformer",
        2021, arXiv:2105.14103, equation 2 and section 3.2; names as rish-16/aft-pytorch `AFTFull`
        (u and v where w is factorised).

    Differs from the paper:
        Nothing in exact arithmetic; the authors released no code. In float32, k is shifted by its
        maximum over the tokens and w by that of its row, where aft-pytorch and
        External-Attention-pytorch overflow at k = 90 (the latter builds N x N x C tensors, too).
        The result is that of the formula, to rounding, if each row of w spans less than 60, or
        each channel of k less than 35; beyond both, what is more than 60 below the maximum of its
        row of w counts as 60 below. External-Attention-tensorflow never trains w.
    """

    def __init__(
        self,
        max_length: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        factorize: int | None = None,
        **kwargs,
    ):
        super().__init__(hidden_dim, output_dim, **kwargs)
        self.max_length = self.integer("max_length", max_length)
        self.factorize = None if factorize is None else self.integer("factorize", factorize)

    def build(self, input_shape):
        """Create the projections and the position biases."""
        channels = self.check_tokens(input_shape)
        self.check_length(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: channels})
        self.build_projections(channels)
        # autocast=False: exponentials are taken in float32.
        if self.factorize:
            shape = (self.max_length, self.factorize)
            self.target_factor = self.add_weight(name="target_factor", shape=shape, autocast=False)
            self.source_factor = self.add_weight(name="source_factor", shape=shape, autocast=False)
        else:
            shape = (self.max_length, self.max_length)
            self.position_bias = self.add_weight(name="position_bias", shape=shape, autocast=False)

    def check_length(self, shape):
        """Check that there are no more tokens than position biases."""
        if shape[1] is not None and shape[1] > self.max_length:
            raise self.error(
                f"the input must have at most max_length={self.max_length} tokens on axis 1.",
                f"shape {tuple(shape)}",
            )

    def biases(self, tokens):
        """Return w for the first `tokens` positions, `(N, N)`."""
        if self.factorize is None:
            return upcast(self.position_bias[:tokens, :tokens])
        target, source = self.target_factor[:tokens], self.source_factor[:tokens]
        return ops.matmul(upcast(target), ops.transpose(upcast(source)))

    def call(self, x):
        """Average the values of `x`."""
        self.check_length(x.shape)
        tokens = ops.shape(x)[1]
        value = upcast(self.value(x))  # (B, N, D)
        key = ops.exp(shift(upcast(self.key(x)), axis=1))
        terms = ops.concatenate([key * value, key], axis=-1)  # (B, N, 2 D)
        # One product for the whole batch: batched, the gradient of w would take B N^2 numbers.
        terms = ops.reshape(ops.transpose(terms, (1, 0, 2)), (tokens, -1))  # (N, B 2 D)
        sums = ops.matmul(bias_exponential(self.biases(tokens)), terms)
        sums = ops.reshape(sums, (tokens, -1, 2 * value.shape[-1]))
        mean = quotient(*ops.split(sums, 2, axis=-1))  # (N, B, D)
        return self.gate(x, ops.transpose(mean, (1, 0, 2)))

    def torch_names(self) -> dict:
        """Name the parameters as rish-16/aft-pytorch does."""
        if self.factorize is None:
            return super().torch_names() | {"wbias": self.position_bias}
        return super().torch_names() | {"u": self.target_factor, "v": self.source_factor}


@keras.saving.register_keras_serializable(package="attn_core")
class AFTLocal(AFTFull):
    r"""AFT-local: `AFTFull` whose position biases act in a window only.

    All tokens take part in every mean, those out of the window by their keys alone:

    $$y_{tc} = \sigma(q_{tc}) \frac{\sum_s \exp(k_{sc} + w_{ts})\, v_{sc}}
        {\sum_s \exp(k_{sc} + w_{ts})}, \quad w_{ts} = 0 \text{ where } |t - s| \ge
        \mathrm{window\_size}$$

    Args:
        max_length: Greatest number of tokens; shorter inputs use the first rows and columns of w.
        window_size: Positions at this distance or further have no bias.
        hidden_dim: Width of query, key and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        factorize: Rank r of w = u v^T, with u and v of shape `(max_length, r)`; `None` = all of w.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`; N at most `max_length`, may be dynamic.

    Returns:
        Tokens, `(B, N, output_dim)`, or of width `hidden_dim`, or C, where that is `None`.

    Raises:
        ValueError: If an argument is not a positive integer, the input is not a batch of tokens of
            a known width, or has more than `max_length` of them.

    Example:
        >>> import numpy as np
        >>> AFTLocal(max_length=64, window_size=8)(np.ones((2, 49, 32))).shape
        (2, 49, 32)

    Reference:
        Zhai et al., "An Attention Free Transformer", 2021, arXiv:2105.14103, equations 2 and 3;
        names as rish-16/aft-pytorch `AFTLocal`.

    Differs from the paper:
        As `AFTFull`; w is stored for all pairs, as in aft-pytorch (which at each call replaces its
        parameter by a masked copy that no optimizer knows), and unused out of the window.
    """

    def __init__(
        self,
        max_length: int,
        window_size: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        factorize: int | None = None,
        **kwargs,
    ):
        super().__init__(
            max_length,
            hidden_dim=hidden_dim,
            output_dim=output_dim,
            factorize=factorize,
            **kwargs,
        )
        self.window_size = self.integer("window_size", window_size)

    def biases(self, tokens):
        """Return w, `(N, N)`, zero out of the window."""
        bias = super().biases(tokens)
        return ops.where(distances(tokens) < self.window_size, bias, ops.zeros_like(bias))


@keras.saving.register_keras_serializable(package="attn_core")
class AFTSimple(AttentionFreeLayer, TokenLayer):
    r"""AFT-simple: averages the values, weighed per channel by the keys alone.

    All tokens share one mean per channel, and each gates it by its query; linear in the tokens:

    $$y_{tc} = \sigma(q_{tc}) \sum_s \mathrm{softmax}_s(k)_{sc}\, v_{sc}$$

    q, k and v are linear maps of the tokens with biases, and so is the projection of y, if any.

    Args:
        hidden_dim: Width of query, key and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        x: Tokens, `(B, N, C)`; N may be dynamic.

    Returns:
        Tokens, `(B, N, output_dim)`, or of width `hidden_dim`, or C, where that is `None`.

    Raises:
        ValueError: If an argument is not a positive integer, or the input is not a batch of tokens
            of a known width.

    Example:
        >>> import numpy as np
        >>> AFTSimple(hidden_dim=8, output_dim=32)(np.ones((2, 49, 32))).shape
        (2, 49, 32)

    Reference:
        Zhai et al., "An Attention Free Transformer", 2021, arXiv:2105.14103, equation 5; names as
        rish-16/aft-pytorch `AFTSimple`.

    Differs from the paper:
        Nothing; the authors released no code.
    """

    def __init__(self, *, hidden_dim: int | None = None, output_dim: int | None = None, **kwargs):
        super().__init__(hidden_dim, output_dim, **kwargs)

    def build(self, input_shape):
        """Create the projections."""
        channels = self.check_tokens(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: channels})
        self.build_projections(channels)

    def call(self, x):
        """Average the values of `x`."""
        weights = softmax(upcast(self.key(x)), axis=1)  # (B, N, D)
        return self.gate(x, ops.sum(weights * upcast(self.value(x)), axis=1, keepdims=True))


@keras.saving.register_keras_serializable(package="attn_core")
class AFTConv(AttentionFreeLayer, ImageLayer):
    r"""AFT-conv: averages the values of an image, weighed per head by keys and relative biases.

    The position biases depend on the offset between two pixels alone, and are zero beyond a square
    of `kernel_size`; the sums are those over the whole image plus a depthwise convolution:

    $$y = \sigma(q) \frac{\sum \exp(k)\, v + (\exp(w) - 1) * (\exp(k)\, v)}
        {\sum \exp(k) + (\exp(w) - 1) * \exp(k)}, \quad
        w^i = \gamma^i \frac{b^i - \mathrm{mean}(b^i)}{\mathrm{std}(b^i)} + \beta^i$$

    q, k and v are linear maps of the pixels with biases, and so is the projection of y, if any. k
    has one channel for each head i, v and q have `hidden_dim / num_heads` of them, those of a head
    side by side. \(*\) lays w, unflipped, with its middle on each pixel; nothing is added past the
    image. Mean and standard deviation (of N, not N - 1) are those of a head's `kernel_size` x
    `kernel_size` numbers b; \(\gamma\) and \(\beta\) start at zero.

    Args:
        num_heads: Number of heads; must divide `hidden_dim`.
        kernel_size: Odd side of the square of biases.
        hidden_dim: Width of query and value; `None` = C.
        output_dim: Width of the output projection; `None` = no projection.
        **kwargs: `data_format` and Keras' own layer arguments.

    Call arguments:
        x: Image, `(B, H, W, C)` or `(B, C, H, W)`; H and W may be dynamic.

    Returns:
        Image of the input's height and width, with `output_dim` channels, or `hidden_dim`, or C,
        where that is `None`.

    Raises:
        ValueError: If an argument is not a positive integer, `kernel_size` is even, the width is
            not a multiple of `num_heads`, or the input is not an image of a known number of
            channels.

    Example:
        >>> import numpy as np
        >>> AFTConv(num_heads=4, kernel_size=3)(np.ones((2, 7, 6, 32))).shape
        (2, 7, 6, 32)

    Reference:
        Zhai et al., "An Attention Free Transformer", 2021, arXiv:2105.14103, equation 6 and the
        re-parametrisation of section 3.2; names in the style of rish-16/aft-pytorch, whose
        `AFTConv` is empty.

    Differs from the paper:
        Nothing in exact arithmetic; the authors released no code. The difference \(\exp(w) - 1\)
        would cancel what the sum over the image holds where w is far below zero, so the pixels
        beyond the square are summed by themselves. The result is that of the formula, to rounding,
        if w of each head and 0 together span less than 60; what is further below counts as 60.
    """

    def __init__(
        self,
        num_heads: int,
        kernel_size: int,
        *,
        hidden_dim: int | None = None,
        output_dim: int | None = None,
        **kwargs,
    ):
        super().__init__(hidden_dim, output_dim, **kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.kernel_size = self.odd("kernel_size", kernel_size)

    def build(self, input_shape):
        """Create the projections and the relative biases."""
        _, _, channels = self.check_image(input_shape)
        width = self.hidden_dim or channels
        self.head_width = self.divisible(
            "the width of query and value", width, "num_heads", self.num_heads
        )
        self.build_projections(channels, key_width=self.num_heads)
        shape = (self.num_heads, self.kernel_size, self.kernel_size)
        # autocast=False: exponentials are taken in float32.
        self.position_bias = self.add_weight(name="position_bias", shape=shape, autocast=False)
        options = {"shape": shape[:1], "initializer": "zeros", "autocast": False}
        self.gamma = self.add_weight(name="gamma", **options)
        self.beta = self.add_weight(name="beta", **options)

    def biases(self):
        """Return the normalised biases, `(heads, kernel_size ** 2)`."""
        bias = ops.reshape(upcast(self.position_bias), (self.num_heads, self.kernel_size**2))
        bias = bias - ops.mean(bias, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(bias), axis=-1, keepdims=True)
        # The bound is for equal biases, as with kernel_size=1: a gradient of sqrt at 0 is infinite.
        bias = bias / ops.sqrt(ops.maximum(variance, 1e-12))
        return ops.expand_dims(upcast(self.gamma), 1) * bias + ops.expand_dims(upcast(self.beta), 1)

    def each_channel(self, x):
        """Repeat the heads on the last axis for each of their channels."""
        return ops.repeat(x, self.head_width, axis=-1)

    def call(self, x):
        """Average the values of `x`."""
        x = self.to_channels_last(x)
        value = upcast(self.value(x))  # (B, H, W, D)
        key = ops.exp(shift(upcast(self.key(x)), axis=(1, 2)))  # (B, H, W, heads)
        terms = ops.concatenate([self.each_channel(key) * value, key], axis=-1)

        # For each head the biases of the square, and then that of all pixels beyond: zero.
        bias = ops.pad(self.biases(), ((0, 0), (0, 1)))
        bias = ops.transpose(bias_exponential(bias))  # (kernel_size ** 2 + 1, heads)
        bias = ops.concatenate([self.each_channel(bias), bias], axis=-1)
        size, channels = self.kernel_size, self.num_heads * (self.head_width + 1)
        kernel = ops.reshape(bias[:-1], (size, size, 1, channels))
        sums = conv2d(terms, kernel) + bias[-1] * sum_beyond(terms, size // 2)

        weighted, weights = ops.split(sums, [value.shape[-1]], axis=-1)
        mean = quotient(weighted, self.each_channel(weights))  # (B, H, W, D)
        return self.from_channels_last(self.gate(x, mean))

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape, with the width of the output."""
        return self.own_shape(super().compute_output_shape(self.channels_last_shape(input_shape)))

    def torch_names(self) -> dict:
        """Name the parameters in the style of rish-16/aft-pytorch."""
        biases = {"wbias": self.position_bias, "gamma": self.gamma, "beta": self.beta}
        return super().torch_names() | biases
