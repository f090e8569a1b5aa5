"""What the networks share: variants, configuration, drop path, names of blocks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import keras
import numpy as np

from attn_core.layers.base import AttentionLayer, stored_policy
from attn_core.layers.checks import Checks
from attn_core.ops.grids import resize_grid
from attn_core.weights.entries import same


class AttentionModel(Checks, keras.Model):
    """Base of the networks: functional models that know their published variants.

    The `__init__` of a subclass checks its arguments, connects the layers from `keras.Input` to the
    output, and ends with `self.finish(...)`, which makes the model of them.
    """

    VARIANTS: ClassVar[dict[str, dict]] = {}
    """Constructor arguments of each published variant, by its published name."""

    @classmethod
    def list_variants(cls) -> list[str]:
        """Return the names of the published variants."""
        return list(cls.VARIANTS)

    @classmethod
    def from_variant(cls, name: str, /, **arguments):
        """Return a published variant.

        Args:
            name: One of `list_variants()`.
            **arguments: Constructor arguments that replace the variant's.

        Raises:
            ValueError: If there is no variant of that name.
        """
        if name not in cls.VARIANTS:
            raise ValueError(
                f"{cls.__name__}: `name` must be one of {', '.join(cls.VARIANTS)}. "
                f"Received: name={name!r}"
            )
        return cls(**{**cls.VARIANTS[name], **arguments})

    def finish(
        self, inputs, outputs, config: dict, torch_names: dict, stages: list, dtype=None, **kwargs
    ):
        """Become the functional model from `inputs` to `outputs`.

        Args:
            inputs: The `keras.Input`.
            outputs: The output, connected to it.
            config: The checked constructor arguments, by name.
            torch_names: The model's layers by the authors' names, as in `weights.entries`.
            stages: The feature map of each stage, finest first; the last one is the output of
                `include_top=False`.
            dtype: The dtype policy that the layers were given.
            **kwargs: Keras' arguments of a model: `name`, `trainable`.
        """
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        if dtype is not None:
            self.dtype_policy = keras.dtype_policies.get(dtype)
        # Read-only views: Keras would track, and save a second time, what dicts hold.
        self._config = MappingProxyType(config)
        self._torch_names = MappingProxyType(torch_names)
        self._stages = tuple(stages)

    def feature_maps(self) -> keras.Model:
        """Return the model from images to the feature maps of all stages, for dense prediction.

        It shares this model's layers. Its output is a list of maps, `(B, H, W, C)` each, finest
        first, or the map itself where there is one stage; the last is the output of
        `include_top=False`.
        """
        return keras.Model(self.input, list(self._stages), name=f"{self.name}_feature_maps")

    def resized(self, image_size, **arguments) -> "AttentionModel":
        """Return this network for images of another size, with its weights.

        Tables that depend on the size are interpolated bilinearly: positions between the middles of
        the patches; global filters over their frequencies, corners kept, as the authors of GFNet
        advise (GFNet issues 4 and 16); biases of relative attention over the offsets, corners kept,
        as the CoAtNet paper (A.1). Everything else is copied. Train it a little at the new size:
        interpolation is where that starts, not a substitute for it.

        Args:
            image_size: As for the constructor.
            **arguments: Constructor arguments that do not change weights: `name`, `dropout`, ...

        Raises:
            ValueError: If the network takes images of any size as it is, or has weights that no
                interpolation carries over.
        """
        if "image_size" not in self._config:
            raise self.error("it takes images of any size as it is.", f"image_size={image_size!r}")
        config = {**self.get_config(), "image_size": image_size, **arguments}
        model = type(self).from_config(config)
        lost = {}
        for ours, theirs in zip(model.variables, self.variables, strict=True):
            if ours.shape == theirs.shape:
                ours.assign(keras.ops.copy(theirs))  # on JAX, training gives away what is shared
            else:
                lost[id(ours)] = ours.path
        for ours, theirs in zip(model._flatten_layers(), self._flatten_layers(), strict=True):
            if hasattr(ours, "resize_from"):
                ours.resize_from(theirs)
                for variable in ours.variables:
                    lost.pop(id(variable), None)
        if lost:
            raise self.error(
                f"these weights depend on the image's size, and nothing resizes them: "
                f"{', '.join(lost.values())}.",
                f"image_size={image_size!r}",
            )
        return model

    def torch_names(self) -> Mapping:
        """Return the layers by the authors' names."""
        return self._torch_names

    def per_stage(self, name: str, value, stages: int, check) -> tuple:
        """Return argument `name`, one value or a tuple, as one value a stage; `check` each."""
        if not isinstance(value, (list, tuple)):
            return (check(name, value),) * stages
        values = self.sequence(name, value, check)
        if len(values) != stages:
            raise self.error(
                f"`{name}` must be one value, or {stages}: one a stage.", f"{name}={value!r}"
            )
        return values

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        policy = keras.saving.serialize_keras_object(stored_policy(self))
        return {"name": self.name, "trainable": self.trainable, "dtype": policy, **self._config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return the model of a configuration."""
        return cls(**config)


class Block(AttentionLayer):
    """Base of the networks' blocks: layers, channels last, that are not mechanisms themselves."""

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape: most blocks keep it."""
        return tuple(input_shape)


def drop_path_rates(rate: float, depths) -> list[list[float]]:
    """Return the rate of each block, by stage: rising linearly from 0 to `rate`, as usual."""
    rates = np.linspace(0.0, rate, sum(depths)).tolist()
    ends = np.cumsum(depths)
    return [rates[end - depth : end] for end, depth in zip(ends, depths, strict=True)]


def stochastic_depth(rate: float, rank: int = 4, dtype=None) -> keras.layers.Dropout:
    """Return drop path: a dropout of whole samples of a tensor of `rank`."""
    return keras.layers.Dropout(
        rate, noise_shape=(None, *[1] * (rank - 1)), name="stochastic_depth", dtype=dtype
    )


class TransformerBlock(Block):
    """Token mixer and MLP, each behind a norm and a residual connection.

    A kind of block says with `create_mixer` what mixes the positions.

    Args:
        mlp_ratio: Width of the MLP, as a multiple of C.
        qkv_bias: Whether the linear maps of the mixer have biases.
        dropout: Rate in the mixer and in the MLP.
        drop_path: Rate of stochastic depth.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self,
        *,
        mlp_ratio: float = 3.0,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.qkv_bias = qkv_bias
        self.dropout = dropout
        self.drop_path = drop_path

    def create_mixer(self, **options) -> keras.layers.Layer:
        """Return the mixer, not built; `options` are name, dtype, biases and dropout."""
        raise NotImplementedError

    def build(self, input_shape):
        """Create mixer, MLP and their norms."""
        channels, dtype = input_shape[-1], self.dtype_policy
        norm = {"epsilon": 1e-5, "dtype": dtype}
        self.mixer_norm = keras.layers.LayerNormalization(name="mixer_norm", **norm)
        self.mixer = self.create_mixer(
            qkv_bias=self.qkv_bias, dropout=self.dropout, name="mixer", dtype=dtype
        )
        self.mlp_norm = keras.layers.LayerNormalization(name="mlp_norm", **norm)
        self.mlp = self.create_mlp(int(channels * self.mlp_ratio), name="mlp", dtype=dtype)
        self.stochastic_depth = stochastic_depth(self.drop_path, rank=len(input_shape), dtype=dtype)
        for layer in (self.mixer_norm, self.mixer, self.mlp_norm, self.mlp):
            layer.build(input_shape)

    def create_mlp(self, hidden_dim: int, **options) -> "MLP":
        """Return the MLP, not built."""
        return MLP(hidden_dim, dropout=self.dropout, **options)

    def call(self, x, training=None):
        """Mix the positions, then the channels."""
        return self.update(x, x, training)

    def update(self, x, source, training):
        """Add to `x` what the mixer makes of `source`, then what the MLP makes of the sum."""
        branch = self.mix(self.mixer_norm(source), training)
        x = x + self.stochastic_depth(branch, training=training)
        branch = self.mlp(self.mlp_norm(x), training=training)
        return x + self.stochastic_depth(branch, training=training)

    def mix(self, x, training):
        """Return what the mixer makes of `x`."""
        return self.mixer(x, training=training)

    def get_config(self) -> dict:
        """Return the arguments of the kind of block, and those that all kinds have."""
        names = ("mlp_ratio", "qkv_bias", "dropout", "drop_path")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def torch_names(self) -> dict:
        """Name the parameters as most authors do."""
        return {
            "norm1": self.mixer_norm,
            "attn": self.mixer,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class MLP(Block):
    """Two dense layers with an activation between them, as in every transformer.

    Args:
        hidden_dim: Width between the two.
        activation: Name of a Keras activation.
        dropout: Rate after each of the two.
        **kwargs: Keras' own layer arguments.
    """

    def __init__(
        self, hidden_dim: int, *, activation: str = "gelu", dropout: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.dropout = dropout

    def build(self, input_shape):
        """Create the two dense layers."""
        channels, dtype = input_shape[-1], self.dtype_policy
        self.expand = keras.layers.Dense(
            self.hidden_dim, activation=self.activation, name="expand", dtype=dtype
        )
        self.reduce = keras.layers.Dense(channels, name="reduce", dtype=dtype)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", dtype=dtype)
        self.expand.build((None, channels))
        self.reduce.build((None, self.hidden_dim))

    def call(self, x, training=None):
        """Expand, activate, reduce."""
        x = self.drop(self.expand(x), training=training)
        return self.drop(self.reduce(x), training=training)

    def torch_names(self) -> dict:
        """Name the parameters as timm's `Mlp` does."""
        return {"fc1": self.expand, "fc2": self.reduce}


@keras.saving.register_keras_serializable(package="attn_core")
class PositionEmbedding(Block):
    """Adds one learned vector to each position of an image of fixed size."""

    def build(self, input_shape):
        """Create the table, (H, W, C)."""
        self.table = self.add_weight(
            shape=tuple(input_shape[1:]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="table",
        )

    def call(self, x):
        """Add the table."""
        return x + self.table

    def resize_from(self, other: "PositionEmbedding") -> None:
        """Take the table of a layer built for another size, interpolated."""
        height, width = self.table.shape[:2]
        table = keras.ops.convert_to_numpy(other.table)
        self.table.assign(resize_grid(table, height, width, align_corners=False))

    def torch_names(self) -> dict:
        """Name the table, `(1, H * W, C)` in the authors' code."""
        height, width, channels = self.table.shape
        return {"": same(self.table, (1, height * width, channels))}


def patch_embedding(channels: int, size: int, **options) -> keras.layers.Conv2D:
    """Return the layer that turns each patch of `size` x `size` pixels into one vector."""
    return keras.layers.Conv2D(channels, size, strides=size, data_format="channels_last", **options)
