"""Blocks and layers that several networks use."""

from typing import Any, ClassVar, Unpack

import keras
from keras import ops

from attn_core._ops.grids import resize_grid
from attn_core._ops.streams import stream
from attn_core._typing import LayerArguments, Shape, Tensor, TorchNames
from attn_core._weights.entries import copied
from attn_core.layers._base import AttentionLayer
from attn_core.layers._children import child, dense
from attn_core.layers._normalization import LayerNormalization


class Block(AttentionLayer):
    """Base of the networks' blocks: channels-last layers that are not mechanisms themselves."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input, which most blocks keep."""
        return tuple(input_shape)

    def add_scale(self, channels: int, initial: float, name: str) -> keras.Variable:
        """Return a new learned scale of a branch, one number for each channel."""
        initializer = keras.initializers.Constant(initial)
        return self.add_weight(shape=(channels,), initializer=initializer, name=name)


def scaled(branch: Tensor, scale: keras.Variable | None) -> Tensor:
    """Return a branch times its scale, if it has one."""
    return branch if scale is None else branch * ops.cast(scale, branch.dtype)


def stochastic_depth(rate: float, rank: int = 4, dtype: Any = None) -> keras.layers.Dropout:
    """Return stochastic depth: a dropout of whole samples, for tensors of the given rank."""
    return keras.layers.Dropout(
        rate, noise_shape=(None, *[1] * (rank - 1)), name="stochastic_depth", dtype=dtype
    )


def patch_embedding(channels: int, size: int, **options: Any) -> keras.layers.Conv2D:
    """Return the layer that turns each patch of `size` x `size` pixels into one vector."""
    return keras.layers.Conv2D(channels, size, strides=size, data_format="channels_last", **options)


class TransformerBlock(Block):
    """Token mixer and MLP, each with a norm before it and a residual connection around it.

    A subclass defines with `create_mixer` the layer that mixes the positions.

    Args:
        mlp_ratio: Width of the MLP, as a multiple of C.
        qkv_bias: Whether the linear maps of the mixer have biases.
        layer_scale: Initial value of the learned scales of both branches; `None` for no scales.
        dropout: Rate in the mixer and in the MLP.
        drop_path: Rate of stochastic depth.
        **kwargs: Keras' own layer arguments.
    """

    norm_class: ClassVar[type[keras.layers.Layer]] = LayerNormalization
    """The norm before each branch."""

    drops_output: ClassVar[bool] = False
    """Whether dropout acts on the output of the mixer, not within it."""

    scale_names: ClassVar[tuple[str, str]] = ("gamma1", "gamma2")
    """The authors' names of the two scales, if there are any."""

    def __init__(
        self,
        *,
        mlp_ratio: float = 3.0,
        qkv_bias: bool = False,
        layer_scale: float | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.qkv_bias = qkv_bias
        self.layer_scale = layer_scale
        self.dropout = dropout
        self.drop_path = drop_path

    def create_mixer(self, **options: Any) -> keras.layers.Layer:
        """Return the mixer, not yet built; `options` are name, dtype, biases and dropout."""
        raise NotImplementedError

    def build(self, input_shape: Shape) -> None:
        """Create the mixer, the MLP and their norms."""
        norm, shape, channels = self.norm_class, input_shape, input_shape[-1]
        self.mixer_norm = child(self, norm, shape=shape, epsilon=1e-5, name="mixer_norm")
        within = 0.0 if self.drops_output else self.dropout
        mixing = {"qkv_bias": self.qkv_bias, "dropout": within, "name": "mixer"}
        self.mixer = child(self, self.create_mixer, shape=shape, **mixing)
        self.mlp_norm = child(self, norm, shape=shape, epsilon=1e-5, name="mlp_norm")
        hidden_dim = int(channels * self.mlp_ratio)
        self.mlp = child(self, self.create_mlp, hidden_dim, shape=shape, name="mlp")
        self.mixer_scale = self.mlp_scale = None
        if self.layer_scale is not None:
            self.mixer_scale = self.add_scale(channels, self.layer_scale, "mixer_scale")
            self.mlp_scale = self.add_scale(channels, self.layer_scale, "mlp_scale")
        if self.drops_output:
            self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)
        self.stochastic_depth = stochastic_depth(
            self.drop_path, rank=len(input_shape), dtype=self.dtype_policy
        )

    def create_mlp(self, hidden_dim: int, **options: Any) -> "MLP":
        """Return the MLP, not yet built."""
        return MLP(hidden_dim, dropout=self.dropout, **options)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Mix the positions, then the channels."""
        x = stream(x)
        return self.update(x, x, training)

    def update(self, x: Tensor, source: Tensor, training: bool | None) -> Tensor:
        """Add the mixer's output for `source` to `x`, then add the MLP's output for that sum."""
        branch = self.mixer(self.mixer_norm(source, training=training), training=training)
        if self.drops_output:
            branch = self.drop(branch, training=training)
        branch = scaled(branch, self.mixer_scale)
        x = x + self.stochastic_depth(branch, training=training)
        branch = self.mlp(self.mlp_norm(x, training=training), training=training)
        branch = scaled(branch, self.mlp_scale)
        return x + self.stochastic_depth(branch, training=training)

    def torch_names(self) -> TorchNames:
        """Name the parameters as most authors do."""
        names = {
            "norm1": self.mixer_norm,
            "attn": self.mixer,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }
        if self.layer_scale is None:
            return names
        scales = (self.mixer_scale, self.mlp_scale)
        return names | dict(zip(self.scale_names, scales, strict=True))


@keras.saving.register_keras_serializable(package="attn_core")
class MLP(Block):
    """Two dense layers with an activation between them.

    Args:
        hidden_dim: Number of hidden units.
        activation: Name of a Keras activation.
        dropout: Rate of dropout after each of the two dense layers.
        **kwargs: Keras' own layer arguments.
    """

    split = {"reduce": "inputs"}

    def __init__(
        self,
        hidden_dim: int,
        *,
        activation: str = "gelu",
        dropout: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.dropout = dropout

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers."""
        channels, hidden = input_shape[-1], self.hidden_dim
        self.expand = dense(self, channels, hidden, "expand", activation=self.activation)
        self.reduce = dense(self, hidden, channels, "reduce")
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=self.dtype_policy)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Expand, activate, reduce."""
        x = self.drop(self.expand(x), training=training)
        return self.drop(self.reduce(x), training=training)

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm's `Mlp` does."""
        return {"fc1": self.expand, "fc2": self.reduce}


@keras.saving.register_keras_serializable(package="attn_core")
class PositionEmbedding(Block):
    """Adds one learned vector to each position of an image of fixed size."""

    def build(self, input_shape: Shape) -> None:
        """Create the table, (H, W, C)."""
        self.table = self.add_weight(
            shape=tuple(input_shape[1:]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="table",
        )

    def call(self, x: Tensor) -> Tensor:
        """Add the table."""
        return x + self.table

    def resize_from(self, other: "PositionEmbedding") -> None:
        """Set the table to the interpolated table of a layer built for another size."""
        height, width = self.table.shape[:2]
        table = keras.ops.convert_to_numpy(other.table)
        self.table.assign(resize_grid(table, height, width, align_corners=False))

    def torch_names(self) -> TorchNames:
        """Name the table, which is `(1, H * W, C)` in the authors' code."""
        height, width, channels = self.table.shape
        return {"": copied(self.table, (1, height * width, channels))}
