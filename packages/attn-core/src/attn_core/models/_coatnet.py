"""CoAtNet: convolution blocks, then transformer blocks with relative attention."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, ClassVar, Unpack

import keras
import numpy as np
from keras import layers, ops

from attn_core import _checks as checks
from attn_core._ops import activations
from attn_core._ops.pooling import halve
from attn_core._ops.streams import stream
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor, TorchNames
from attn_core.layers import MBConv, RelativeSelfAttention
from attn_core.layers._children import child, dense
from attn_core.layers._convolution import Conv2D
from attn_core.layers._normalization import BatchNormalization, LayerNormalization
from attn_core.layers.blocks._mb_conv import MBConvForm
from attn_core.layers.blocks._parts import pair
from attn_core.models._arguments import checked, one_or_pair
from attn_core.models._base import AttentionModel, Graph, drop_path_rates
from attn_core.models._blocks import MLP, Block, scaled, stochastic_depth
from attn_core.models._preprocess import Preprocess

Options = Mapping[str, Any]


@dataclass(frozen=True)
class CoAtNetForm(MBConvForm):
    """What the blocks of a CoAtNet do otherwise than those of the paper, which are the defaults.

    timm's own variants, coatnet_*_rw_*, have such blocks.

    Attributes:
        activation: Name of the activation in the stem and in the convolution blocks.
        pre_activation: Whether it also follows the first norm of a convolution block.
        inner_width: Whose number of channels the widths inside a block are multiples of: "output"
            or "input". With "input", the width of squeeze-and-excitation is a multiple of the
            expanded one, and the last linear map of the attention widens.
        use_bias: Whether the last 1x1 convolution of a convolution block and that of its shortcut
            have biases.
        se_activation: Name of the activation in squeeze-and-excitation.
        se_early: Whether squeeze-and-excitation comes before the norm of the depthwise convolution.
        downsample: What halves height and width in a convolution block: the "depthwise"
            convolution, or an average "pooling" after the first norm.
        pooling: Pooling of the shortcuts, and before the attention: "avg" of 2x2 pixels, or "max"
            of 3x3.
        shortcut_bias: Whether the shortcut of a transformer block has biases.
        norm: Norm of the transformer blocks, and of the last features: "layer" or "batch".
        bias_dim: Hidden width of the MLP that computes the relative biases from the logarithms of
            the offsets; with `None` the biases are a table.
        layer_scale: Initial value of the learned scales of both branches of a transformer block;
            `None` for no scales.

    Raises:
        ValueError: If an attribute is not as described.

    Example:
        >>> form = CoAtNetForm(activation="silu", bias_dim=16)
        >>> model = CoAtNet((8, 8, 16, 16), depths=1, key_dim=8, image_size=32, form=form)
        >>> model.get_config()["form"]
        {'activation': 'silu', 'bias_dim': 16}
    """

    shortcut_bias: bool = True
    norm: str = "layer"
    bias_dim: int | None = None
    layer_scale: float | None = None

    def __post_init__(self) -> None:
        """Check the attributes."""
        choices = {
            "inner_width": ("output", "input"),
            "downsample": ("depthwise", "pooling"),
            "pooling": ("avg", "max"),
            "norm": tuple(NORMS),
        }
        for name, allowed in choices.items():
            checks.choice(self, name, getattr(self, name), allowed)
        for name in ("pre_activation", "use_bias", "se_early", "shortcut_bias"):
            checks.flag(self, name, getattr(self, name))
        for name in ("activation", "se_activation"):
            checks.activation(self, name, getattr(self, name))
        checks.optional(checks.integer, self, "bias_dim", self.bias_dim)
        checks.optional(checks.number, self, "layer_scale", self.layer_scale)


NORMS = {"layer": LayerNormalization, "batch": BatchNormalization}


def options_of_form(owner: Any, name: str, value: Any) -> dict[str, Any]:
    """Check that an argument is a form, a dict of its attributes, or `None`; return the others."""
    ours = {field.name: field.default for field in fields(CoAtNetForm)}
    if isinstance(value, CoAtNetForm):
        value = asdict(value)
    if not isinstance(value, Mapping | None) or not ours.keys() >= set(value or ()):
        message = f"`{name}` must be a CoAtNetForm, or a dict of {', '.join(ours)}."
        raise checks.error(owner, message, f"{name}={value!r}")
    given = asdict(CoAtNetForm(**(value or {})))
    return {key: one for key, one in given.items() if one != ours[key]}


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetConvBlock(MBConv):
    """`MBConv` with stochastic depth.

    Args:
        filters: As for `MBConv`.
        drop_path: Rate of stochastic depth.
        options: Attributes of the `CoAtNetForm`.
        **kwargs: As for `MBConv`.
    """

    split = {"excite": "inputs", "project": "inputs"}
    follows = {"depthwise": "expand"}

    def __init__(
        self,
        filters: int,
        *,
        drop_path: float = 0.0,
        options: Options | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.drop_path = drop_path
        self.options = dict(options or {})
        self.form = CoAtNetForm(**self.options)
        self.stochastic_depth = stochastic_depth(drop_path, dtype=self.dtype_policy)

    def join(self, branch: Tensor, shortcut: Tensor, training: bool | None) -> Tensor:
        """Add the branch, which stochastic depth drops for some samples."""
        return super().join(self.stochastic_depth(branch, training=training), shortcut, training)


@keras.saving.register_keras_serializable(package="attn_core")
class LogOffsetAttention(RelativeSelfAttention):
    """`RelativeSelfAttention` whose biases an MLP computes, from the logarithms of the offsets.

    The offset of a query from a key, r rows and c columns, becomes (sign(r) log(1 + |r|),
    sign(c) log(1 + |c|)). No weight depends on the size of the image.

    Args:
        num_heads: As for `RelativeSelfAttention`.
        bias_dim: Hidden width of the MLP.
        **kwargs: As for `RelativeSelfAttention`.
    """

    split = {**RelativeSelfAttention.split, "bias_expand": "whole", "bias_reduce": "whole"}

    def __init__(self, num_heads: int = 8, *, bias_dim: int = 512, **kwargs: Any) -> None:
        super().__init__(num_heads, **kwargs)
        self.bias_dim = bias_dim

    def build_biases(self) -> None:
        """Create the MLP, and the logarithms that it takes."""
        axes = (np.arange(1 - length, length) for length in self.size)
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        logarithms = np.sign(offsets) * np.log1p(np.abs(offsets))
        self._logarithms = logarithms.astype("float32")
        hidden, heads = self.bias_dim, self.num_heads
        self.bias_expand = dense(self, 2, hidden, "bias_expand", activation="relu")
        self.bias_reduce = dense(self, hidden, heads, "bias_reduce")

    def biases(self) -> Tensor:
        """Compute the bias of each offset and each head."""
        return self.bias_reduce(self.bias_expand(ops.convert_to_tensor(self._logarithms)))

    def resize_from(self, other: RelativeSelfAttention) -> None:
        """Leave the weights as they are: they serve all sizes."""

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm's `Attention2d` with `RelPosMlp` does."""
        return {
            "qkv": self.qkv,
            "rel_pos.mlp.fc1": self.bias_expand,
            "rel_pos.mlp.fc2": self.bias_reduce,
            "proj": self.project,
        }


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNetTransformerBlock(Block):
    """Relative self-attention and MLP, each with a norm before it and a residual connection.

    Args:
        filters: Number of output channels.
        strides: 2 halves height and width, by pooling; 1 keeps them.
        key_dim: Width of a head; there are `filters // key_dim` heads.
        mlp_ratio: Width of the MLP, as a multiple of `filters`.
        dropout: Rate in attention and MLP.
        drop_path: Rate of stochastic depth.
        options: Attributes of the `CoAtNetForm`.
        **kwargs: Keras' own layer arguments.
    """

    split = {"shortcut": "whole"}

    def __init__(
        self,
        filters: int,
        *,
        strides: int = 1,
        key_dim: int = 32,
        mlp_ratio: float = 4,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        options: Options | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.key_dim = key_dim
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.drop_path = drop_path
        self.options = dict(options or {})
        self.form = CoAtNetForm(**self.options)

    def build(self, input_shape: Shape) -> None:
        """Create the attention, the MLP, the norms and the shortcut."""
        channels, width, form = input_shape[-1], self.filters, self.form
        norm = partial(NORMS[form.norm], epsilon=1e-6)
        inner = self._pooled(input_shape)
        outer = (*inner[:-1], width)
        self.attention_norm = child(self, norm, shape=input_shape, name="attention_norm")
        kind = RelativeSelfAttention
        if form.bias_dim is not None:
            kind = partial(LogOffsetAttention, bias_dim=form.bias_dim)
        heads = (channels if form.inner_width == "input" else width) // self.key_dim
        options = {"key_dim": self.key_dim, "output_dim": width, "dropout": self.dropout}
        options |= {"data_format": "channels_last", "name": "attention"}
        self.attention = child(self, kind, heads, shape=inner, **options)
        self.mlp_norm = child(self, norm, shape=outer, name="mlp_norm")
        hidden = int(width * self.mlp_ratio)
        self.mlp = child(self, MLP, hidden, shape=outer, dropout=self.dropout, name="mlp")
        self.stochastic_depth = stochastic_depth(self.drop_path, dtype=self.dtype_policy)
        self.attention_scale = self.mlp_scale = None
        if form.layer_scale is not None:
            self.attention_scale = self.add_scale(width, form.layer_scale, "attention_scale")
            self.mlp_scale = self.add_scale(width, form.layer_scale, "mlp_scale")
        self.shortcut = None
        if channels != width:
            bias = {"use_bias": form.shortcut_bias}
            self.shortcut = dense(self, channels, width, "shortcut", **bias)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the attention, then the MLP."""
        x = stream(x)
        around = self._pool(x)
        around = around if self.shortcut is None else self.shortcut(around)
        x = self._pool(self.attention_norm(x, training=training))
        branch = scaled(self.attention(x, training=training), self.attention_scale)
        x = around + self.stochastic_depth(branch, training=training)
        branch = self.mlp(self.mlp_norm(x, training=training), training=training)
        return x + self.stochastic_depth(scaled(branch, self.mlp_scale), training=training)

    def _pool(self, x: Tensor) -> Tensor:
        return halve(x, self.form.pooling) if self.strides == 2 else x

    def _pooled(self, shape: Shape) -> Shape:
        batch, height, width, channels = shape
        return batch, height // self.strides, width // self.strides, channels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape after pooling, with `filters` channels."""
        return (*self._pooled(input_shape)[:-1], self.filters)

    def torch_names(self) -> TorchNames:
        """Name the parameters as timm's `TransformerBlock2d` does."""
        norm = "norm1.norm" if self.strides > 1 else "norm1"
        names = {
            norm: self.attention_norm,
            "attn": self.attention,
            "norm2": self.mlp_norm,
            "mlp": self.mlp,
        }
        if self.form.layer_scale is not None:
            names |= {"ls1.gamma": self.attention_scale, "ls2.gamma": self.mlp_scale}
        return names if self.shortcut is None else {"shortcut.expand": self.shortcut} | names


def width_of_representation(owner: Any, name: str, value: Any) -> int | str | None:
    """Check that an argument is a width, "last" or `None`."""
    return value if value in ("last", None) else checks.integer(owner, name, value)


RW_SIZES: dict[str, dict[str, Any]] = {
    "nano": {
        "embed_dim": (64, 128, 256, 512),
        "depths": (3, 4, 6, 3),
        "stem_width": (32, 64),
    },
    "0": {"depths": (2, 3, 7, 2), "stem_width": (32, 64)},
    "1": {"depths": (2, 6, 14, 2), "stem_width": (32, 64)},
    "2": {
        "embed_dim": (128, 256, 512, 1024),
        "depths": (2, 6, 14, 2),
        "stem_width": (64, 128),
    },
    "3": {
        "embed_dim": (192, 384, 768, 1536),
        "depths": (2, 6, 14, 2),
        "stem_width": (96, 192),
    },
}
"""The sizes of timm's own variants."""

LATE: dict[str, Any] = {"pre_activation": True, "use_bias": False}
EARLY: dict[str, Any] = {
    **LATE,
    "se_early": True,
    "se_activation": "relu",
    "shortcut_bias": False,
}
"""What the forms of timm's own variants have in common, by the place of squeeze-and-excitation."""


def _rw(size: str, **form: Any) -> dict[str, Any]:
    """Return the arguments of one of timm's own variants."""
    form = {"activation": "silu", "inner_width": "input", **form}
    return {**RW_SIZES[size], "representation_size": None, "form": form}


@keras.saving.register_keras_serializable(package="attn_core")
class CoAtNet(AttentionModel):
    """CoAtNet: MBConv in the early stages, relative self-attention in the late ones.

    Args:
        embed_dim: Number of channels of each stage.
        depths: Number of blocks of each stage.
        block_types: Kind of each stage: "C", convolution, or "T", transformer.
        stem_width: Number of channels of the stem, or of each of its two convolutions.
        key_dim: Width of an attention head.
        expansion: Hidden width of MBConv, as a multiple of its output channels.
        se_ratio: Width of its squeeze-and-excitation, as a multiple of its output channels.
        form: What the blocks do otherwise than those of the paper: a `CoAtNetForm`, or a dict of
            its attributes. timm's own variants have such blocks.
        mlp_ratio: Width of the MLPs, as a multiple of the stage's channels.
        representation_size: Width of the dense layer before the classifier: an integer, or "last"
            for the width of the last stage; with `None` there is no such layer.
        image_size: Side of the images in pixels, or (height, width); multiples of 32.
        in_channels: Number of channels of the images.
        num_classes: Number of logits.
        include_top: Whether to pool and classify; otherwise the output is the last feature map.
        pooling: "avg" or "max" pools the feature map of `include_top=False`, to `(B, C)`.
        dropout: Rate in the transformer blocks and before the classifier.
        drop_path: Rate of stochastic depth in the last block, rising to it from 0.
        **kwargs: `name` and `dtype`.

    Call arguments:
        x: Images, `(B, H, W, in_channels)`.

    Returns:
        Logits, `(B, num_classes)`, or with `include_top=False` the feature map,
        `(B, H / 32, W / 32, embed_dim[-1])` for four stages.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> import numpy as np
        >>> model = CoAtNet((8, 8, 16, 16), depths=1, stem_width=8, key_dim=8, image_size=32)
        >>> tuple(model(np.ones((2, 32, 32, 3))).shape)
        (2, 1000)

    Reference:
        Dai, Liu, Le, Tan, "CoAtNet: Marrying Convolution and Attention for All Data Sizes",
        NeurIPS 2021, arXiv:2106.04803. The outputs and the names of the parameters are the same as
        those of timm's coatnet_*_224, coatnet_*_rw_224 and coatnet_rmlp_*. In training, timm also
        drops one of eight hidden units of the MLP that computes relative biases.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {
        "coatnet_0": {},
        "coatnet_1": {"depths": (2, 6, 14, 2)},
        "coatnet_2": {
            "embed_dim": (128, 256, 512, 1024),
            "depths": (2, 6, 14, 2),
            "stem_width": 128,
        },
        "coatnet_3": {
            "embed_dim": (192, 384, 768, 1536),
            "depths": (2, 6, 14, 2),
            "stem_width": 192,
        },
        "coatnet_4": {
            "embed_dim": (192, 384, 768, 1536),
            "depths": (2, 12, 28, 2),
            "stem_width": 192,
        },
        "coatnet_5": {
            "embed_dim": (256, 512, 1280, 2048),
            "depths": (2, 12, 28, 2),
            "stem_width": 192,
        },
        "coatnet_nano_rw_224": _rw("nano", downsample="pooling"),
        "coatnet_0_rw_224": _rw("0", **EARLY, downsample="pooling"),
        "coatnet_1_rw_224": _rw("1", **EARLY),
        "coatnet_2_rw_224": _rw("2", **LATE),
        # The only checkpoint of this one has the classes of ImageNet-12k.
        "coatnet_3_rw_224": {**_rw("3", **LATE, layer_scale=1e-6), "num_classes": 11821},
        "coatnet_bn_0_rw_224": _rw("0", **EARLY, norm="batch"),
        "coatnet_rmlp_nano_rw_224": _rw("nano", bias_dim=384),
        "coatnet_rmlp_0_rw_224": _rw("0", **LATE, se_activation="relu", bias_dim=512),
        "coatnet_rmlp_1_rw_224": _rw(
            "1", **EARLY, downsample="pooling", pooling="max", bias_dim=384
        ),
        "coatnet_rmlp_1_rw2_224": _rw("1", **LATE, se_activation="relu", bias_dim=512),
        "coatnet_rmlp_2_rw_224": _rw("2", **LATE, layer_scale=1e-6, bias_dim=512),
        "coatnet_rmlp_2_rw_384": {
            **_rw("2", **LATE, layer_scale=1e-6, bias_dim=512),
            "image_size": 384,
        },
    }

    # timm 1.0.31 has no checkpoint of the others, and that of coatnet_rmlp_2_rw_384 is for squashed
    # images, not for their middle.
    PREPROCESS: ClassVar[dict[str, Preprocess]] = {
        **{
            name: Preprocess(224, 0.9 if "nano" in name else 0.95, mean=(0.5,) * 3, std=(0.5,) * 3)
            for name in VARIANTS
            if name.endswith("_224") and name != "coatnet_rmlp_0_rw_224"
        },
        "coatnet_bn_0_rw_224": Preprocess(224, 0.95),
    }

    OTHERS: ClassVar[dict[str, str]] = {
        "rel_pos.mlp.": "timm's coatnet_rmlp_*, which are variants of their own",
        "se_early.": "timm's coatnet_*_rw_224, which are variants of their own",
        "attn_block.": "a MaxViT",
    }

    @checked(
        per_stage=("embed_dim", "depths"),
        stages=lambda config: len(config["block_types"]),
        block_types=partial(checks.sequence, check=partial(checks.choice, choices=("C", "T"))),
        representation_size=width_of_representation,
        stem_width=one_or_pair(checks.integer),
        form=options_of_form,
    )
    def __init__(
        self,
        embed_dim: int | tuple[int, ...] = (96, 192, 384, 768),
        *,
        depths: int | tuple[int, ...] = (2, 3, 5, 2),
        block_types: tuple[str, ...] = ("C", "C", "T", "T"),
        stem_width: int | tuple[int, int] = 64,
        key_dim: int = 32,
        expansion: float = 4,
        se_ratio: float = 0.25,
        mlp_ratio: float = 4,
        form: CoAtNetForm | Options | None = None,
        representation_size: int | str | None = "last",
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        include_top: bool = True,
        pooling: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **kwargs: Unpack[KerasArguments],
    ) -> None:
        count, images = len(block_types), (*image_size, in_channels)
        for side in image_size:
            checks.divisible(self, "`image_size`", side, "2 ** (1 + stages)", 2 ** (1 + count))
        made = CoAtNetForm(**form)
        before = (pair(stem_width)[-1], *embed_dim)
        for inputs, width, kind in zip(before, embed_dim, block_types, strict=False):
            for one in (inputs, width) if made.inner_width == "input" else (width,):
                if kind == "T":
                    checks.divisible(self, "`embed_dim`", one, "key_dim", key_dim)
        net = Graph(images, **kwargs)
        x = stem(net, stem_width, made.activation)
        convolution = {"expansion": expansion, "se_ratio": se_ratio, "data_format": "channels_last"}
        transformer = {"key_dim": key_dim, "mlp_ratio": mlp_ratio, "dropout": dropout}
        kinds = {
            "C": (CoAtNetConvBlock, convolution),
            "T": (CoAtNetTransformerBlock, transformer),
        }
        for stage, rates in enumerate(drop_path_rates(drop_path, depths)):
            kind, options = kinds[block_types[stage]]
            for i, rate in enumerate(rates):
                names = {"name": f"stage_{stage}_block_{i}", "torch": f"stages.{stage}.blocks.{i}"}
                block = {"strides": 1 if i else 2, "drop_path": rate, "options": form}
                x = net.add(kind, embed_dim[stage], **names, **block, **options)(x)
            net.stages.append(x)
        if representation_size is None:
            norm = net.add(NORMS[made.norm], epsilon=1e-6, name="norm", torch="norm")
            x = net.stages[-1] = norm(x)
        if include_top:
            x = net.pool(x)
            if representation_size is not None:
                size = embed_dim[-1] if representation_size == "last" else representation_size
                x = represent(net, x, size, made.norm)
            x = net.classify(x, num_classes, torch="head.fc", dropout=dropout)
        self.finish(net, x)


def stem(net: Graph, widths: int | tuple[int, ...], activation: str) -> Tensor:
    """Return images at half their size: two convolutions."""
    first, second = pair(widths)
    conv = {"use_bias": False}
    x = net.add(Conv2D, first, 3, strides=2, name="stem_conv_1", torch="stem.conv1", **conv)(
        net.images
    )
    x = net.add(BatchNormalization, name="stem_norm", torch="stem.norm1")(x)
    x = net.add(layers.Activation, activations.get(activation), name=f"stem_{activation}")(x)
    return net.add(Conv2D, second, 3, name="stem_conv_2", torch="stem.conv2", **conv)(x)


def represent(net: Graph, x: Tensor, size: int, norm: str) -> Tensor:
    """Return the representation, of `size` numbers, of the pooled features."""
    x = net.add(NORMS[norm], epsilon=1e-6, name="norm", torch="head.norm")(x)
    dense = {"name": "pre_logits", "torch": "head.pre_logits.fc"}
    return net.add(layers.Dense, size, activation="tanh", **dense)(x)
