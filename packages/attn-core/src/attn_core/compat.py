"""The names and arguments of External-Attention-tensorflow, for code that was written for it.

`from attention.SEAttention import SEAttention` becomes `from attn_core.compat import SEAttention`.
What is built is the layer of attn-core, channels last: the mathematics is the authors', not that
collection's. `TABLE` says what each old argument means now.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import keras

from attn_core import layers, models
from attn_core.layers.base import TokenLayer


@dataclass(frozen=True)
class Old:
    """One class of the collection.

    Attributes:
        new: The layer or model of attn-core, or a function that returns it, with further arguments
            for it, given the old arguments.
        arguments: The old arguments in order, with their defaults (`...`: required).
        names: What the new class calls those that it takes.
        channels: The one that must be the input's number of channels, where it is given.
        size: Those that must be the input's height and width, where they are given.
        unused: Those that have no counterpart, and warn where they are given.
        fixed: Arguments of the new class that the collection fixes.
    """

    new: Callable
    arguments: dict
    names: dict = field(default_factory=dict)
    channels: str = ""
    size: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    fixed: dict = field(default_factory=dict)


@keras.saving.register_keras_serializable(package="attn_core")
class SelfAttentionOfThree(layers.EfficientMultiHeadSelfAttention):
    """`EfficientMultiHeadSelfAttention`, called as the collection's `EMSA`: with three inputs."""

    side = None
    """(H, W) of the tokens, from the collection's constructor."""

    def __call__(self, queries, keys=None, values=None, *, spatial_shape=None, **kwargs):
        """Attend; `keys` and `values`, if given, must be `queries`: it is self-attention."""
        if not all(one is None or one is queries for one in (keys, values)):
            raise self.error("`keys` and `values` must be `queries`.", "other tensors")
        if len(queries.shape) == 3:
            kwargs["spatial_shape"] = spatial_shape or self.side
        return super().__call__(queries, **kwargs)


def _must_equal(name, value, expected, why):
    if value != expected:
        raise ValueError(
            f"compat: `{name}` must be {expected!r}: {why}. Received: {name}={value!r}"
        )


def _aft(old):
    return (layers.AFTSimple, {}) if old["simple"] else (layers.AFTFull, {"max_length": old["n"]})


def _coatnet(old):
    _must_equal("in_ch", old["in_ch"], 3, "the network takes colour images")
    stem, *widths = old["out_chs"]
    return models.CoAtNet, {"stem_width": stem, "embed_dim": tuple(widths), "include_top": False}


def _coordinate(old):
    _must_equal("oup", old["oup"], old["inp"], "the gates multiply the input")
    return layers.CoordinateAttention, {}


def _emsa(old):
    def build(**arguments):
        layer = SelfAttentionOfThree(**arguments)
        layer.side = (old["H"], old["W"])
        return layer

    return build, {}


def _outlook(old):
    expected = old["kernel_size"] // 2
    _must_equal("padding", old["padding"], expected, "the authors pad symmetrically")
    return layers.OutlookAttention, {}


def _pyramid(old):
    _must_equal("S", old["S"], 4, "the authors' module has four branches")
    return layers.PyramidSqueezeAttention, {}


def _triplet(old):
    return layers.TripletAttention, {"spatial": not old["no_spatial"]}


EMPTY = inspect.Parameter.empty
HEADS = {"h": "num_heads", "dropout": "dropout"}
WIDTHS = {"d_k": "key_dim", "d_v": "value_dim", **HEADS}
TOKENS = {"d_model": 512, "d_k": 512, "d_v": 512, "h": 8, "dropout": 0.1}

TABLE = {
    "ResidualAttention": Old(
        layers.ResidualAttention, {"num_class": 1000, "la": 0.2},
        {"num_class": "num_classes", "la": "lam"}, fixed={"temperatures": (float("inf"),)},
    ),
    "ExternalAttention": Old(
        layers.ExternalAttention, {"d_model": 512, "S": 64}, {"S": "memory_size"},
        channels="d_model",
    ),
    "ScaledDotProductAttention": Old(
        layers.ScaledDotProductAttention, TOKENS, WIDTHS, channels="d_model"
    ),
    "SimplifiedScaledDotProductAttention": Old(
        layers.SimplifiedScaledDotProductAttention, {"d_model": 512, "h": 8, "dropout": 0.1}, HEADS,
        channels="d_model",
    ),
    "SEAttention": Old(
        layers.SEAttention, {"channel": 512, "reduction": 16}, {"reduction": "reduction"},
        channels="channel",
    ),
    "SKAttention": Old(
        layers.SKAttention,
        {"channel": 512, "kernels": (1, 3, 5, 7), "reduction": 16, "group": 1, "L": 32},
        {"kernels": "kernel_sizes", "reduction": "reduction", "group": "groups", "L": "min_width"},
        channels="channel", fixed={"dilated": False},
    ),
    "CBAMBlock": Old(
        layers.CBAM, {"channel": 512, "reduction": 16, "kernel_size": 49},
        {"reduction": "reduction", "kernel_size": "kernel_size"}, channels="channel",
    ),
    "BAMBlock": Old(
        layers.BAM, {"channel": 512, "reduction": 16, "dia_val": 2},
        {"reduction": "reduction", "dia_val": "dilation"}, channels="channel",
    ),
    "ECAAttention": Old(
        layers.ECAAttention, {"kernel_size": 3}, {"kernel_size": "kernel_size"}
    ),
    "DAModule": Old(
        layers.DualAttention, {"d_model": 512, "kernel_size": 3, "H": 7, "W": 7},
        channels="d_model", size=("H", "W"), unused=("kernel_size",),
    ),
    "PSA": Old(
        _pyramid, {"channel": 512, "reduction": 4, "S": 4}, {"reduction": "reduction"},
        channels="channel",
    ),
    "EMSA": Old(
        _emsa,
        {**TOKENS, "H": 7, "W": 7, "ratio": 3, "apply_transform": True},
        {**WIDTHS, "ratio": "sr_ratio", "apply_transform": "apply_transform"},
        channels="d_model",
    ),
    "ShuffleAttention": Old(
        layers.ShuffleAttention, {"channel": 512, "reduction": 16, "G": 8}, {"G": "groups"},
        channels="channel", unused=("reduction",),
    ),
    "MUSEAttention": Old(layers.MUSEAttention, TOKENS, WIDTHS, channels="d_model"),
    "SpatialGroupEnhance": Old(layers.SpatialGroupEnhance, {"groups": 8}, {"groups": "groups"}),
    "DoubleAttention": Old(
        layers.DoubleAttention,
        {"in_channels": ..., "c_m": 128, "c_n": 128, "reconstruct": True},
        {"c_m": "feature_dim", "c_n": "num_maps", "reconstruct": "reconstruct"},
        channels="in_channels",
    ),
    "AFT_FULL": Old(_aft, {"d_model": ..., "n": 49, "simple": False}, channels="d_model"),
    "OutlookAttention": Old(
        _outlook,
        {"dim": ..., "num_heads": 1, "kernel_size": 3, "padding": 1, "stride": 1,
         "qkv_bias": False, "attn_drop": 0.1},
        {"num_heads": "num_heads", "kernel_size": "kernel_size", "stride": "strides",
         "qkv_bias": "qkv_bias", "attn_drop": "dropout"},
        channels="dim",
    ),
    "WeightedPermuteMLP": Old(
        layers.WeightedPermuteMLP,
        {"dim": ..., "seg_dim": 8, "qkv_bias": False, "proj_drop": 0.0},
        {"seg_dim": "segment_dim", "qkv_bias": "qkv_bias", "proj_drop": "dropout"},
        channels="dim",
    ),
    "CoAtNet": Old(
        _coatnet, {"in_ch": 3, "image_size": 224, "out_chs": (64, 96, 192, 384, 768)},
        {"image_size": "image_size"},
    ),
    "HaloAttention": Old(
        layers.HaloAttention,
        {"dim": ..., "block_size": ..., "halo_size": ..., "dim_head": 64, "heads": 8},
        {"block_size": "block_size", "halo_size": "halo_size", "dim_head": "key_dim",
         "heads": "num_heads"},
        channels="dim",
    ),
    "ParallelPolarizedSelfAttention": Old(
        layers.ParallelPolarizedSelfAttention, {"channel": 512}, channels="channel"
    ),
    "SequentialPolarizedSelfAttention": Old(
        layers.SequentialPolarizedSelfAttention, {"channel": 512}, channels="channel"
    ),
    "CoTAttention": Old(
        layers.CoTAttention, {"dim": 512, "kernel_size": 3}, {"kernel_size": "kernel_size"},
        channels="dim",
    ),
    "S2Attention": Old(layers.S2Attention, {"channels": 512}, channels="channels"),
    "GFNet": Old(
        models.GFNet,
        {"embed_dim": 384, "img_size": 224, "patch_size": 16, "num_classes": 1000},
        {"embed_dim": "embed_dim", "img_size": "image_size", "patch_size": "patch_size",
         "num_classes": "num_classes"},
        fixed={"depths": 4},
    ),
    "TripletAttention": Old(_triplet, {"no_spatial": False}),
    "CoordAtt": Old(
        _coordinate, {"inp": ..., "oup": ..., "reduction": 32}, {"reduction": "reduction"},
        channels="inp",
    ),
    "MobileViTAttention": Old(
        layers.MobileViTBlock,
        {"in_channel": 3, "dim": 512, "kernel_size": 3, "patch_size": 7},
        {"dim": "transformer_dim", "kernel_size": "kernel_size", "patch_size": "patch_size"},
        channels="in_channel", fixed={"ffn_dim": 1024, "num_blocks": 3, "head_dim": 64},
    ),
    "ParNetAttention": Old(layers.ParNetAttention, {"channel": 512}, channels="channel"),
    "UFOAttention": Old(layers.UFOAttention, TOKENS, WIDTHS, channels="d_model"),
    "MobileViTv2Attention": Old(
        layers.SeparableSelfAttention, {"d_model": ...}, channels="d_model"
    ),
}  # fmt: skip


def _factory(name: str, old: Old) -> Callable:
    """Return the function that stands for a class of the collection."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [
            inspect.Parameter(argument, kind, default=EMPTY if default is ... else default)
            for argument, default in old.arguments.items()
        ]
    )

    def build(*arguments, **named):
        if "d_model" in old.arguments and "d_attention" in named:
            named["d_model"] = named.pop("d_attention")  # the README's name for it
        options = {key: named.pop(key) for key in ("name", "dtype", "trainable") if key in named}
        try:
            given = signature.bind(*arguments, **named).arguments
        except TypeError as error:
            raise TypeError(f"compat.{name}{signature}: {error}") from None
        for argument in old.unused:
            if argument in given:
                warnings.warn(
                    f"compat.{name}: `{argument}` has no counterpart in the authors' layer and has "
                    "no effect.",
                    stacklevel=2,
                )
        return _build(old, given, options)

    build.__name__ = build.__qualname__ = name
    build.__signature__ = signature
    build.__doc__ = f"Build what `{name}` of External-Attention-tensorflow stands for."
    return build


def _build(old: Old, given: dict, options: dict):
    values = {**old.arguments, **given}
    new, extra = old.new, {}
    if not isinstance(new, type):
        new, extra = new(values)
    config = {ours: values[theirs] for theirs, ours in old.names.items()}
    if not (isinstance(new, type) and issubclass(new, (TokenLayer, keras.Model))):
        options = {"data_format": "channels_last", **options}
    layer = new(**config, **old.fixed, **extra, **options)
    # What the layer infers, Keras checks at its first call, where it was given.
    axes = {-1: given[old.channels]} if old.channels in given else {}
    axes |= {axis: given[side] for axis, side in enumerate(old.size, 1) if side in given}
    if axes:
        layer.input_spec = keras.layers.InputSpec(axes=axes)
    return layer


globals().update({name: _factory(name, old) for name, old in TABLE.items()})
__all__ = list(TABLE)
