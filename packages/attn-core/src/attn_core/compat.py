"""The names and arguments of the External-Attention collections, for code written for them.

`from attention.SEAttention import SEAttention` becomes `from attn_core.compat import SEAttention`.
The names are those of the collection for TensorFlow, and, for the mechanisms that it lacks, those
of the collection for PyTorch. Each function builds the layer of attn-core, channels last for both.
The layer computes what the authors' code computes, even if the collection computes something else.
The docstring of each function says what the old arguments are called now; that of `AxialAttention`
also says how to use channels first.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar, Unpack

import keras

from attn_core import _checks as checks
from attn_core import layers, models
from attn_core._typing import KerasArguments, LayerArguments, Tensor

P = ParamSpec("P")
T = TypeVar("T")
Layer = TypeVar("Layer", bound=keras.layers.Layer)

LAST = "channels_last"
NO_DROPOUT = "the layer has no dropout of its output; put a `keras.layers.Dropout` after it"

Table: TypeAlias = dict[str, Callable[..., keras.layers.Layer]]
"""Functions by name, in the order of a collection."""

TENSORFLOW: Table = {}
"""Those with names of External-Attention-tensorflow."""
PYTORCH: Table = {}
"""Those with names of External-Attention-pytorch, for what the other collection lacks."""


class TokenArguments(LayerArguments, total=False):
    """Keras' own arguments, and the name that the collection's README has for `d_model`."""

    d_attention: int


@keras.saving.register_keras_serializable(package="attn_core")
class SelfAttentionOfThree(layers.EfficientMultiHeadSelfAttention):
    """`EfficientMultiHeadSelfAttention`, called as the collection's `EMSA`: with three inputs.

    Args:
        *args: As for `EfficientMultiHeadSelfAttention`.
        side: (H, W) of the tokens, from the collection's constructor; `None` = a square image.
        **kwargs: As for `EfficientMultiHeadSelfAttention`.
    """

    def __init__(self, *args: Any, side: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.side = None if side is None else tuple(side)

    def __call__(
        self,
        queries: Tensor,
        keys: Tensor | None = None,
        values: Tensor | None = None,
        *,
        spatial_shape: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Attend; `keys` and `values`, if given, must be `queries`: it is self-attention."""
        if not all(one is None or one is queries for one in (keys, values)):
            raise checks.error(self, "`keys` and `values` must be `queries`.", "other tensors")
        if len(queries.shape) == 3:
            kwargs["spatial_shape"] = spatial_shape or self.side
        return super().__call__(queries, **kwargs)


def replaces(
    *,
    table: Table = TENSORFLOW,
    channels: str = "",
    size: tuple[str, ...] = (),
    unused: tuple[str, ...] = (),
) -> Callable[[Callable[P, Layer]], Callable[P, Layer]]:
    """Make a function stand for the class of its name in the collection.

    It can be called with `d_attention` in place of `d_model`, as in the collection's README.

    Args:
        table: The table of its collection, which it enters.
        channels: The argument that must be the input's number of channels, where it is given.
        size: Those that must be the input's height and width, where they are given.
        unused: Those that have no counterpart, and warn where they are given.
    """

    def decorate(function: Callable[P, Layer]) -> Callable[P, Layer]:
        *old, _ = inspect.signature(function).parameters.values()
        bare = [one.replace(annotation=inspect.Parameter.empty) for one in old]
        signature = inspect.Signature(bare)
        name = function.__name__

        @wraps(function)
        def build(*args: P.args, **kwargs: P.kwargs) -> Layer:
            named: dict[str, Any] = dict(kwargs)
            if "d_attention" in named and "d_model" in signature.parameters:
                named["d_model"] = named.pop("d_attention")
            keys = [key for key in LayerArguments.__annotations__ if key in named]
            options = {key: named.pop(key) for key in keys}
            try:
                bound = signature.bind(*args, **named)
            except TypeError as error:
                raise TypeError(f"compat.{name}{signature}: {error}") from None
            given = bound.arguments
            for argument in unused:
                if argument in given:
                    warnings.warn(
                        f"compat.{name}: `{argument}` has no counterpart in the authors' layer and "
                        "has no effect.",
                        stacklevel=2,
                    )
            layer = function(**given, **options)
            axes = {-1: given[channels]} if channels in given else {}
            axes |= {axis: given[side] for axis, side in enumerate(size, 1) if side in given}
            return _expect(layer, axes) if axes else layer

        table[name] = build
        return build

    return decorate


def _expect(layer: Layer, axes: dict[int, int | None]) -> Layer:
    """Let Keras check, at the layer's first call, what was given and the layer infers."""
    layer.input_spec = keras.layers.InputSpec(axes=axes)
    return layer


def _must_equal(name: str, value: Any, expected: Any, why: str) -> None:
    if value != expected:
        raise ValueError(
            f"compat: `{name}` must be {expected!r}: {why}. Received: {name}={value!r}"
        )


def _meaning(name: str, value: Any, meanings: Mapping[Any, T]) -> T:
    for known, meaning in meanings.items():
        if value == known:
            return meaning
    raise ValueError(
        f"compat: `{name}` must be one of {list(meanings)}. Received: {name}={value!r}"
    )


@replaces()
def ResidualAttention(
    num_class: int = 1000, la: float = 0.2, **options: Unpack[LayerArguments]
) -> layers.ResidualAttention:
    """`num_class` is `num_classes`, `la` is `lam`; set: `temperatures=(inf,)`."""
    temperatures = (float("inf"),)
    return layers.ResidualAttention(
        num_class, lam=la, temperatures=temperatures, data_format=LAST, **options
    )


@replaces(channels="d_model")
def ExternalAttention(
    d_model: int = 512, S: int = 64, **options: Unpack[TokenArguments]
) -> layers.ExternalAttention:
    """`S` is `memory_size`."""
    return layers.ExternalAttention(memory_size=S, **options)


@replaces(channels="d_model")
def ScaledDotProductAttention(
    d_model: int = 512,
    d_k: int = 512,
    d_v: int = 512,
    h: int = 8,
    dropout: float = 0.1,
    **options: Unpack[TokenArguments],
) -> layers.ScaledDotProductAttention:
    """`d_k` is `key_dim`, `d_v` is `value_dim`, `h` is `num_heads`."""
    return layers.ScaledDotProductAttention(
        num_heads=h, key_dim=d_k, value_dim=d_v, dropout=dropout, **options
    )


@replaces(channels="d_model")
def SimplifiedScaledDotProductAttention(
    d_model: int = 512, h: int = 8, dropout: float = 0.1, **options: Unpack[TokenArguments]
) -> layers.SimplifiedScaledDotProductAttention:
    """`h` is `num_heads`."""
    return layers.SimplifiedScaledDotProductAttention(num_heads=h, dropout=dropout, **options)


@replaces(channels="channel")
def SEAttention(
    channel: int = 512, reduction: int = 16, **options: Unpack[LayerArguments]
) -> layers.SEAttention:
    """`reduction` is the same."""
    return layers.SEAttention(reduction=reduction, data_format=LAST, **options)


@replaces(channels="channel")
def SKAttention(
    channel: int = 512,
    kernels: Sequence[int] = (1, 3, 5, 7),
    reduction: int = 16,
    group: int = 1,
    L: int = 32,
    **options: Unpack[LayerArguments],
) -> layers.SKAttention:
    """`kernels` is `kernel_sizes`, `group` is `groups`, `L` is `min_width`; set: not `dilated`."""
    return layers.SKAttention(
        kernel_sizes=kernels,
        reduction=reduction,
        groups=group,
        min_width=L,
        dilated=False,
        data_format=LAST,
        **options,
    )


@replaces(channels="channel")
def CBAMBlock(
    channel: int = 512,
    reduction: int = 16,
    kernel_size: int = 49,
    **options: Unpack[LayerArguments],
) -> layers.CBAM:
    """`reduction` and `kernel_size` are the same."""
    return layers.CBAM(reduction=reduction, kernel_size=kernel_size, data_format=LAST, **options)


@replaces(channels="channel")
def BAMBlock(
    channel: int = 512, reduction: int = 16, dia_val: int = 2, **options: Unpack[LayerArguments]
) -> layers.BAM:
    """`dia_val` is `dilation`."""
    return layers.BAM(reduction=reduction, dilation=dia_val, data_format=LAST, **options)


@replaces()
def ECAAttention(kernel_size: int = 3, **options: Unpack[LayerArguments]) -> layers.ECAAttention:
    """`kernel_size` is the same."""
    return layers.ECAAttention(kernel_size=kernel_size, data_format=LAST, **options)


@replaces(channels="d_model", size=("H", "W"), unused=("kernel_size",))
def DAModule(
    d_model: int = 512,
    kernel_size: int = 3,
    H: int = 7,
    W: int = 7,
    **options: Unpack[TokenArguments],
) -> layers.DualAttention:
    """`kernel_size` has no counterpart."""
    return layers.DualAttention(data_format=LAST, **options)


@replaces(channels="channel")
def PSA(
    channel: int = 512, reduction: int = 4, S: int = 4, **options: Unpack[LayerArguments]
) -> layers.PyramidSqueezeAttention:
    """`S` must be 4."""
    _must_equal("S", S, 4, "the authors' module has four branches")
    return layers.PyramidSqueezeAttention(reduction=reduction, data_format=LAST, **options)


@replaces(channels="d_model")
def EMSA(
    d_model: int = 512,
    d_k: int = 512,
    d_v: int = 512,
    h: int = 8,
    dropout: float = 0.1,
    H: int = 7,
    W: int = 7,
    ratio: int = 3,
    apply_transform: bool = True,
    **options: Unpack[TokenArguments],
) -> SelfAttentionOfThree:
    """`d_k` is `key_dim`, `d_v` is `value_dim`, `h` is `num_heads`, `ratio` is `sr_ratio`."""
    return SelfAttentionOfThree(
        num_heads=h,
        sr_ratio=ratio,
        apply_transform=apply_transform,
        key_dim=d_k,
        value_dim=d_v,
        dropout=dropout,
        side=(H, W),
        data_format=LAST,
        **options,
    )


@replaces(channels="channel", unused=("reduction",))
def ShuffleAttention(
    channel: int = 512, reduction: int = 16, G: int = 8, **options: Unpack[LayerArguments]
) -> layers.ShuffleAttention:
    """`G` is `groups`; `reduction` has no counterpart."""
    return layers.ShuffleAttention(groups=G, data_format=LAST, **options)


@replaces(channels="d_model")
def MUSEAttention(
    d_model: int = 512,
    d_k: int = 512,
    d_v: int = 512,
    h: int = 8,
    dropout: float = 0.1,
    **options: Unpack[TokenArguments],
) -> layers.MUSEAttention:
    """`d_k` is `key_dim`, `d_v` is `value_dim`, `h` is `num_heads`."""
    return layers.MUSEAttention(num_heads=h, key_dim=d_k, value_dim=d_v, dropout=dropout, **options)


@replaces()
def SpatialGroupEnhance(
    groups: int = 8, **options: Unpack[LayerArguments]
) -> layers.SpatialGroupEnhance:
    """`groups` is the same."""
    return layers.SpatialGroupEnhance(groups=groups, data_format=LAST, **options)


@replaces(channels="in_channels")
def DoubleAttention(
    in_channels: int,
    c_m: int = 128,
    c_n: int = 128,
    reconstruct: bool = True,
    **options: Unpack[LayerArguments],
) -> layers.DoubleAttention:
    """`c_m` is `feature_dim`, `c_n` is `num_maps`."""
    return layers.DoubleAttention(
        feature_dim=c_m, num_maps=c_n, reconstruct=reconstruct, data_format=LAST, **options
    )


@replaces(channels="d_model")
def AFT_FULL(
    d_model: int, n: int = 49, simple: bool = False, **options: Unpack[TokenArguments]
) -> layers.AFTFull | layers.AFTSimple:
    """`n` is `max_length`; `simple=True` is `AFTSimple`."""
    if simple:
        return layers.AFTSimple(**options)
    return layers.AFTFull(max_length=n, **options)


@replaces(channels="dim")
def OutlookAttention(
    dim: int,
    num_heads: int = 1,
    kernel_size: int = 3,
    padding: int = 1,
    stride: int = 1,
    qkv_bias: bool = False,
    attn_drop: float = 0.1,
    **options: Unpack[LayerArguments],
) -> layers.OutlookAttention:
    """`stride` is `strides`, `attn_drop` is `dropout`; `padding` must be `kernel_size // 2`."""
    _must_equal("padding", padding, kernel_size // 2, "the authors pad symmetrically")
    return layers.OutlookAttention(
        num_heads=num_heads,
        kernel_size=kernel_size,
        strides=stride,
        qkv_bias=qkv_bias,
        dropout=attn_drop,
        data_format=LAST,
        **options,
    )


@replaces(channels="dim")
def WeightedPermuteMLP(
    dim: int,
    seg_dim: int = 8,
    qkv_bias: bool = False,
    proj_drop: float = 0.0,
    **options: Unpack[LayerArguments],
) -> layers.WeightedPermuteMLP:
    """`seg_dim` is `segment_dim`, `proj_drop` is `dropout`."""
    return layers.WeightedPermuteMLP(
        segment_dim=seg_dim, qkv_bias=qkv_bias, dropout=proj_drop, data_format=LAST, **options
    )


@replaces()
def CoAtNet(
    in_ch: int = 3,
    image_size: int | tuple[int, int] = 224,
    out_chs: Sequence[int] = (64, 96, 192, 384, 768),
    **options: Unpack[KerasArguments],
) -> models.CoAtNet:
    """`out_chs`: `stem_width`, `embed_dim`; `in_ch`: `in_channels`; set: `include_top=False`."""
    stem, *widths = out_chs
    return models.CoAtNet(
        tuple(widths),
        stem_width=stem,
        image_size=image_size,
        in_channels=in_ch,
        include_top=False,
        **options,
    )


@replaces(channels="dim")
def HaloAttention(
    dim: int,
    block_size: int,
    halo_size: int,
    dim_head: int = 64,
    heads: int = 8,
    **options: Unpack[LayerArguments],
) -> layers.HaloAttention:
    """`dim_head` is `key_dim`, `heads` is `num_heads`."""
    return layers.HaloAttention(
        block_size=block_size,
        halo_size=halo_size,
        key_dim=dim_head,
        num_heads=heads,
        data_format=LAST,
        **options,
    )


@replaces(channels="channel")
def ParallelPolarizedSelfAttention(
    channel: int = 512, **options: Unpack[LayerArguments]
) -> layers.ParallelPolarizedSelfAttention:
    """It has no other argument."""
    return layers.ParallelPolarizedSelfAttention(data_format=LAST, **options)


@replaces(channels="channel")
def SequentialPolarizedSelfAttention(
    channel: int = 512, **options: Unpack[LayerArguments]
) -> layers.SequentialPolarizedSelfAttention:
    """It has no other argument."""
    return layers.SequentialPolarizedSelfAttention(data_format=LAST, **options)


@replaces(channels="dim")
def CoTAttention(
    dim: int = 512, kernel_size: int = 3, **options: Unpack[LayerArguments]
) -> layers.CoTAttention:
    """`kernel_size` is the same."""
    return layers.CoTAttention(kernel_size=kernel_size, data_format=LAST, **options)


@replaces(channels="channels")
def S2Attention(channels: int = 512, **options: Unpack[LayerArguments]) -> layers.S2Attention:
    """It has no other argument."""
    return layers.S2Attention(data_format=LAST, **options)


@replaces()
def GFNet(
    embed_dim: int = 384,
    img_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    num_classes: int = 1000,
    **options: Unpack[KerasArguments],
) -> models.GFNet:
    """`img_size` is `image_size`; set: `depths=4`."""
    return models.GFNet(
        embed_dim,
        depths=4,
        patch_size=patch_size,
        image_size=img_size,
        num_classes=num_classes,
        **options,
    )


@replaces()
def TripletAttention(
    no_spatial: bool = False, **options: Unpack[LayerArguments]
) -> layers.TripletAttention:
    """`no_spatial` is the opposite of `spatial`."""
    return layers.TripletAttention(spatial=not no_spatial, data_format=LAST, **options)


@replaces(channels="inp")
def CoordAtt(
    inp: int, oup: int, reduction: int = 32, **options: Unpack[LayerArguments]
) -> layers.CoordinateAttention:
    """`oup` must be `inp`."""
    _must_equal("oup", oup, inp, "the gates multiply the input")
    return layers.CoordinateAttention(reduction=reduction, data_format=LAST, **options)


@replaces(channels="in_channel")
def MobileViTAttention(
    in_channel: int = 3,
    dim: int = 512,
    kernel_size: int = 3,
    patch_size: int = 7,
    **options: Unpack[LayerArguments],
) -> layers.MobileViTBlock:
    """`dim` is `transformer_dim`; set: `ffn_dim=1024`, `num_blocks=3`, `head_dim=64`."""
    return layers.MobileViTBlock(
        dim,
        ffn_dim=1024,
        num_blocks=3,
        head_dim=64,
        kernel_size=kernel_size,
        patch_size=patch_size,
        data_format=LAST,
        **options,
    )


@replaces(channels="channel")
def ParNetAttention(
    channel: int = 512, **options: Unpack[LayerArguments]
) -> layers.ParNetAttention:
    """It has no other argument."""
    return layers.ParNetAttention(data_format=LAST, **options)


@replaces(channels="d_model")
def UFOAttention(
    d_model: int = 512,
    d_k: int = 512,
    d_v: int = 512,
    h: int = 8,
    dropout: float = 0.1,
    **options: Unpack[TokenArguments],
) -> layers.UFOAttention:
    """`d_k` is `key_dim`, `d_v` is `value_dim`, `h` is `num_heads`."""
    return layers.UFOAttention(num_heads=h, key_dim=d_k, value_dim=d_v, dropout=dropout, **options)


@replaces(channels="d_model")
def MobileViTv2Attention(
    d_model: int, **options: Unpack[TokenArguments]
) -> layers.SeparableSelfAttention:
    """It has no other argument."""
    return layers.SeparableSelfAttention(**options)


@replaces(table=PYTORCH, channels="in_planes")
def ACmix(
    in_planes: int,
    out_planes: int,
    kernel_att: int = 7,
    head: int = 4,
    kernel_conv: int = 3,
    stride: int = 1,
    dilation: int = 1,
    **options: Unpack[LayerArguments],
) -> layers.ACmix:
    """`kernel_conv` must be 3 and `dilation` 1.

    `out_planes` is `output_dim`, `kernel_att` is `kernel_size`, `head` is `num_heads`, `stride` is
    `strides`.
    """
    _must_equal("kernel_conv", kernel_conv, 3, "the authors' module works with no other size")
    _must_equal("dilation", dilation, 1, "the authors' module works with no other value")
    return layers.ACmix(
        num_heads=head,
        output_dim=out_planes,
        kernel_size=kernel_att,
        strides=stride,
        data_format=LAST,
        **options,
    )


@replaces(table=PYTORCH)
def DAttentionBaseline(
    q_size: tuple[int, int],
    kv_size: tuple[int, int],
    n_heads: int,
    n_head_channels: int,
    n_groups: int,
    attn_drop: float,
    proj_drop: float,
    stride: int,
    offset_range_factor: float,
    use_pe: bool,
    dwc_pe: bool,
    no_off: bool,
    fixed_pe: bool,
    stage_idx: int,
    **options: Unpack[LayerArguments],
) -> layers.DeformableAttention:
    """DAT's attention; here it only returns the image.

    `n_heads` is `num_heads`, `n_groups` is `groups`, `attn_drop` is `dropout`, `stride` is
    `strides`; `offset_range_factor` is the same, and below 0 it is `None`; `stage_idx` 0, 1, 2, 3
    is `kernel_size` 9, 7, 5, 3. `kv_size` must be `q_size`, `use_pe` true, `proj_drop` 0, and
    `dwc_pe`, `no_off` and `fixed_pe` false; set: `grid="centers"`.
    """
    why = "the layer has the authors' relative position bias, as the published networks do"
    _must_equal("kv_size", tuple(kv_size), tuple(q_size), "the table of biases is the image's")
    _must_equal("use_pe", use_pe, True, why)
    _must_equal("dwc_pe", dwc_pe, False, why)
    _must_equal("fixed_pe", fixed_pe, False, why)
    _must_equal("no_off", no_off, False, "without offsets it is not deformable attention")
    _must_equal("proj_drop", proj_drop, 0, NO_DROPOUT)
    layer = layers.DeformableAttention(
        num_heads=n_heads,
        groups=n_groups,
        kernel_size=_meaning("stage_idx", stage_idx, {0: 9, 1: 7, 2: 5, 3: 3}),
        strides=stride,
        offset_range_factor=None if offset_range_factor < 0 else offset_range_factor,
        grid="centers",
        dropout=attn_drop,
        data_format=LAST,
        **options,
    )
    height, width = q_size
    return _expect(layer, {1: height, 2: width, -1: n_heads * n_head_channels})


@replaces(table=PYTORCH, channels="dim")
def CrossFormerAttention(
    dim: int,
    group_size: int | tuple[int, int],
    num_heads: int,
    qkv_bias: bool = True,
    qk_scale: float | None = None,
    attn_drop: float = 0.0,
    proj_drop: float = 0.0,
    position_bias: bool = True,
    **options: Unpack[LayerArguments],
) -> layers.CrossFormerAttention:
    """CrossFormer's `Attention`; here its input is the image, which it cuts into groups itself.

    The groups are those of short distance; the layer itself has `interval` for long distance.
    `num_heads` and `qkv_bias` are the same, `group_size` is one number, or twice the same,
    `attn_drop` is `dropout`. `qk_scale` must be `None`, `proj_drop` 0 and `position_bias` true.
    """
    sides = (group_size, group_size) if isinstance(group_size, int) else tuple(group_size)
    _must_equal("group_size", sides, (sides[0], sides[0]), "groups are square")
    _must_equal("qk_scale", qk_scale, None, "the scores are divided by the root of a head's width")
    _must_equal("proj_drop", proj_drop, 0, NO_DROPOUT)
    _must_equal("position_bias", position_bias, True, "the authors' networks always have it")
    return layers.CrossFormerAttention(
        sides[0],
        num_heads=num_heads,
        qkv_bias=qkv_bias,
        dropout=attn_drop,
        data_format=LAST,
        **options,
    )


@replaces(table=PYTORCH, channels="in_dim")
def CrissCrossAttention(
    in_dim: int, **options: Unpack[LayerArguments]
) -> layers.CrissCrossAttention:
    """It has no other argument."""
    return layers.CrissCrossAttention(data_format=LAST, **options)


@replaces(table=PYTORCH)
def AxialAttention(
    dim: int,
    num_dimensions: int = 2,
    heads: int = 8,
    dim_heads: int | None = None,
    dim_index: int = -1,
    sum_axial_out: bool = True,
    **options: Unpack[LayerArguments],
) -> layers.AxialAttention:
    """`dim_index` says where the channels are: -1 or 3, or 1 or -3 for channels first.

    `heads` is `num_heads`, `dim_heads` is `key_dim`, `sum_axial_out=False` is
    `combine="sequential"`; `num_dimensions` must be 2.
    """
    _must_equal("num_dimensions", num_dimensions, 2, "the layer takes images")
    axis = _meaning("dim_index", dim_index, {-1: -1, 3: -1, 1: 1, -3: 1})
    layer = layers.AxialAttention(
        num_heads=heads,
        key_dim=dim_heads,
        combine="add" if sum_axial_out else "sequential",
        data_format=LAST if axis == -1 else "channels_first",
        **options,
    )
    return _expect(layer, {axis: dim})


@replaces(table=PYTORCH, channels="channels")
def SimAM(
    channels: int | None = None, e_lambda: float = 1e-4, **options: Unpack[LayerArguments]
) -> layers.SimAM:
    """`e_lambda` is `epsilon`."""
    return layers.SimAM(e_lambda, data_format=LAST, **options)


@replaces(table=PYTORCH, channels="channels")
def simam_module(
    channels: int | None = None, e_lambda: float = 1e-4, **options: Unpack[LayerArguments]
) -> layers.SimAM:
    """`e_lambda` is `epsilon`; `simam_module` is the authors' own name of `SimAM`."""
    return layers.SimAM(e_lambda, data_format=LAST, **options)


__all__ = [
    "AFT_FULL",
    "EMSA",
    "PSA",
    "ACmix",
    "AxialAttention",
    "BAMBlock",
    "CBAMBlock",
    "CoAtNet",
    "CoTAttention",
    "CoordAtt",
    "CrissCrossAttention",
    "CrossFormerAttention",
    "DAModule",
    "DAttentionBaseline",
    "DoubleAttention",
    "ECAAttention",
    "ExternalAttention",
    "GFNet",
    "HaloAttention",
    "MUSEAttention",
    "MobileViTAttention",
    "MobileViTv2Attention",
    "OutlookAttention",
    "ParNetAttention",
    "ParallelPolarizedSelfAttention",
    "ResidualAttention",
    "S2Attention",
    "SEAttention",
    "SKAttention",
    "ScaledDotProductAttention",
    "SequentialPolarizedSelfAttention",
    "ShuffleAttention",
    "SimAM",
    "SimplifiedScaledDotProductAttention",
    "SpatialGroupEnhance",
    "TripletAttention",
    "UFOAttention",
    "WeightedPermuteMLP",
    "simam_module",
]
