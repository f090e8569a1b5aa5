"""MUSE: self-attention and dynamic convolutions in parallel."""

import keras
from keras import ops

from attn_core.layers.base import QueryLayer
from attn_core.ops.attention import attend, broadcast_scores, merge_heads, split_heads
from attn_core.ops.precision import softmax, upcast
from attn_core.weights.entries import rows, transposed


@keras.saving.register_keras_serializable(package="attn_core")
class MUSEAttention(QueryLayer):
    r"""MUSE: self-attention beside dynamic convolutions over the tokens, which share its values.

    Every token predicts, for each head and kernel size, a kernel that mixes the values around it;
    the convolutions are weighed against each other, and projected together with the attention:

    $$y = W_o\,\Big[\mathrm{Attention}(Q, K, V),\;
        \sum_i \mathrm{softmax}(a)_i\, \mathrm{DynConv}_i(V)\Big], \quad
    \mathrm{DynConv}_i(V)_t = \sum_j \mathrm{softmax}_j(W_i V_t)_j\, V_{t + j}$$

    The weights a start equal.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a head's queries and keys; `None` = C // num_heads.
        value_dim: Width of a head's values; `None` = `key_dim`.
        kernel_sizes: Odd kernel size of each convolution.
        causal: Whether tokens see themselves and earlier ones only, in attention and convolutions.
        use_bias: Whether the projections of query, key, value and output have biases.
        dropout: Rate of dropout on the attention map and on the predicted kernels.
        **kwargs: Keras' own layer arguments.

    Call arguments:
        query: Tokens, `(B, N, C)`.
        key: Tokens, `(B, N, Ck)`; `None` = the query.
        value: Tokens, `(B, N, Cv)`; `None` = the key.
        attention_mask: True (or not 0) where a query may attend to a key: `(N, N)`, `(B, N, N)` or
            `(B, 1 or num_heads, N, N)`. It acts on the attention only, not on the convolutions. A
            query that may attend to no key gets zeros from the attention.
        attention_weights: Factors of the scaled dot products, before the mask; shaped as the mask.
        training: Whether dropout acts.
        return_attention_scores: Whether to return the attention map too.

    Returns:
        Tokens, `(B, N, C)`; with `return_attention_scores=True` also the map (before dropout),
        `(B, num_heads, N, N)`.

    Raises:
        ValueError: If an argument is out of its range; if `key_dim` is `None` and C is not a
            multiple of `num_heads`; if the shapes of the inputs do not fit together.

    Example:
        >>> import numpy as np
        >>> MUSEAttention(num_heads=4, kernel_sizes=(3, 15))(np.ones((2, 9, 32))).shape
        (2, 9, 32)

    Reference:
        Zhao, Sun, Xu, Zhang, Luo, "MUSE: Parallel Multi-Scale Attention for Sequence to Sequence
        Learning", 2019, arXiv:1911.09483; numbers as lancopku/MUSE `ParallelMultiheadAttention`
        in the authors' training command.

    Differs from the paper:
        The position-wise network, the paper's third branch, is not part of the layer, as in the
        reference. The reference fixes `key_dim` and `value_dim` to C // num_heads and drops 10% of
        the kernels' taps in training, whatever the rate for the attention. Both
        External-Attention-pytorch and -tensorflow have static convolutions instead of dynamic
        ones, and apply the softmax of the weights a anew to its own result at each call; the
        latter does not train them and drops all of the attention in training.
    """

    output_dim = None  # the width of the query

    def __init__(
        self,
        num_heads: int = 8,
        *,
        key_dim: int | None = None,
        value_dim: int | None = None,
        kernel_sizes=(3, 15),
        causal: bool = False,
        use_bias: bool = True,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = self.integer("num_heads", num_heads)
        self.key_dim = None if key_dim is None else self.integer("key_dim", key_dim)
        self.value_dim = None if value_dim is None else self.integer("value_dim", value_dim)
        self.kernel_sizes = self.sequence("kernel_sizes", kernel_sizes, self.odd)
        self.causal = self.flag("causal", causal)
        self.use_bias = self.flag("use_bias", use_bias)
        self.dropout = self.rate("dropout", dropout)

    def check_inputs(self, query_shape, key_shape=None, *shapes) -> tuple[int, int, int]:
        """Check the shapes of all inputs: there are as many keys as queries."""
        widths = super().check_inputs(query_shape, key_shape, *shapes)
        known = key_shape is not None and None not in (query_shape[1], key_shape[1])
        if known and query_shape[1] != key_shape[1]:
            raise self.error(
                "`query` and `key` must have as many tokens, axis 1.",
                {"query": tuple(query_shape), "key": tuple(key_shape)},
            )
        return widths

    def build(
        self,
        query_shape,
        key_shape=None,
        value_shape=None,
        attention_mask_shape=None,
        attention_weights_shape=None,
    ):
        """Create the projections, those that predict the kernels, and the kernels' weights."""
        self.widths = self.check_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        width, key_width, value_width = self.widths
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})
        key_dim = self.key_dim or self.divisible(
            "the number of channels of `query`", width, "num_heads", self.num_heads
        )
        keys, values = self.num_heads * key_dim, self.num_heads * (self.value_dim or key_dim)

        def dense(name, inputs, units, use_bias=self.use_bias):
            options = {"name": name, "dtype": self.dtype_policy}
            layer = keras.layers.Dense(units, use_bias=use_bias, **options)
            layer.build((None, inputs))
            return layer

        self.query = dense("query", width, keys)
        self.key = dense("key", key_width, keys)
        self.value = dense("value", value_width, values)
        self.project = dense("project", 2 * values, width)
        self.kernels = [
            dense(f"kernel_{index}", values, self.num_heads * size, use_bias=False)
            for index, size in enumerate(self.kernel_sizes)
        ]
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)
        equal = keras.initializers.Constant(1 / len(self.kernels))
        self.gate = self.add_weight(name="gate", shape=(len(self.kernels),), initializer=equal)

    def call(
        self,
        query,
        key=None,
        value=None,
        attention_mask=None,
        attention_weights=None,
        training=None,
        return_attention_scores=False,
    ):
        """Attend to, and convolve, the projected `value`."""
        key = query if key is None else key
        value = key if value is None else value
        inputs = (query, key, value, attention_mask, attention_weights)
        self.check_inputs(*(None if x is None else x.shape for x in inputs))
        value = self.value(value)
        kernels = self.predict_kernels(value, training)  # (B, N, heads, widest)
        value = split_heads(value, self.num_heads)  # (B, N, heads, value_dim)
        attended, attention = attend(
            split_heads(self.query(query), self.num_heads),  # (B, N, heads, key_dim)
            split_heads(self.key(key), self.num_heads),
            value,
            mask=self.visible(attention_mask, ops.shape(value)[1]),
            weights=attention_weights,
            dropout=self.drop,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        branches = [merge_heads(attended), merge_heads(self.convolve(value, kernels))]
        output = self.project(ops.concatenate(branches, axis=-1))  # (B, N, C)
        return self.result(output, attention, return_attention_scores)

    def visible(self, mask, tokens):
        """Return the mask of the attention, causal if the layer is."""
        if not self.causal:
            return mask
        positions = ops.arange(0, tokens)
        earlier = ops.expand_dims(positions, 1) >= ops.expand_dims(positions, 0)  # (N, N)
        return earlier if mask is None else ops.logical_and(broadcast_scores(mask), earlier)

    def predict_kernels(self, value, training):
        """Predict the kernels, and join those of all sizes into one: convolutions are linear."""
        tokens, widest = ops.shape(value)[1], max(self.kernel_sizes)
        gates = ops.split(softmax(upcast(self.gate)), len(self.kernels))
        joined = 0.0
        for size, predict, gate in zip(self.kernel_sizes, self.kernels, gates, strict=True):
            taps = ops.reshape(predict(value), (-1, tokens, self.num_heads, size))
            taps = gate * softmax(upcast(taps))
            before = self.reach(widest) - self.reach(size)
            around = ((0, 0), (0, 0), (0, 0), (before, widest - size - before))
            joined = joined + ops.pad(self.drop(taps, training=training), around)
        return ops.cast(joined, value.dtype)  # (B, N, heads, widest)

    def reach(self, size: int) -> int:
        """Return how many earlier tokens a kernel of `size` taps covers."""
        return size - 1 if self.causal else size // 2

    def convolve(self, value, kernels):
        """Mix the values around each token by its kernel: one shifted product for each tap."""
        tokens, size = ops.shape(value)[1], kernels.shape[-1]
        before = self.reach(size)
        value = ops.pad(value, ((0, 0), (before, size - 1 - before), (0, 0), (0, 0)))
        return sum(kernels[..., j : j + 1] * value[:, j : j + tokens] for j in range(size))

    def compute_attention_shape(self, query_shape, key_shape=None) -> tuple:
        """Return the shape of the attention map."""
        keys = query_shape[1] if key_shape is None else key_shape[1]
        return (query_shape[0], self.num_heads, query_shape[1], keys)

    def torch_names(self) -> dict:
        """Name the parameters as lancopku/MUSE does."""
        inner = {"q": self.query, "k": self.key, "v": self.value}
        names = {"dynamic_gate_para": self.gate, "out_proj": self.project}
        names |= {f"dynamics.{i}.weight_linear": layer for i, layer in enumerate(self.kernels)}
        if len(set(self.widths)) == 1:
            names["in_proj_weight"] = rows(*(layer.kernel for layer in inner.values()))
        else:
            for name, layer in inner.items():
                names[f"{name}_proj_weight"] = transposed(layer.kernel, (1, 0))
        if self.use_bias:
            names["in_proj_bias"] = rows(*(layer.bias for layer in inner.values()))
        return names
