"""One list of (layer, configuration, shape) that serves every generic test."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from attn_core import layers
from attn_core.catalog import MECHANISMS
from attn_core.layers.base import ImageLayer


@dataclass(frozen=True)
class Case:
    """A layer as the generic tests build it.

    Attributes:
        layer: Class name.
        shape: Shape of the input; images are channels last. A token layer that takes query, key
            and value gets the query alone (self-attention).
        config: Constructor arguments.
        other: Another (H, W) or (N,) that the built layer takes too; None: the size is fixed.
        call: Further call arguments.
    """

    layer: str
    shape: tuple
    config: dict = field(default_factory=dict)
    other: tuple | None = None
    call: dict = field(default_factory=dict)

    @property
    def cls(self):
        return getattr(layers, self.layer)

    @property
    def is_image(self) -> bool:
        return issubclass(self.cls, ImageLayer) and len(self.shape) == 4

    @property
    def has_map(self) -> bool:
        return hasattr(self.cls, "compute_attention_shape")

    @property
    def id(self) -> str:
        options = "-".join(f"{name}={value}" for name, value in self.config.items())
        return f"{self.layer}-{options}" if options else self.layer

    def make(self, **options):
        """Return a new layer."""
        return self.cls(**self.config, **options)

    def draw(self, shape=None, scale=1.0, dtype="float32"):
        """Return random input of the case's shape, or of another size."""
        rng = np.random.default_rng(3)
        return (scale * rng.standard_normal(shape or self.shape)).astype(dtype)

    @property
    def other_shape(self) -> tuple:
        """The shape of the second size."""
        return (self.shape[0], *self.other, self.shape[-1])


def image(layer, channels, other=(4, 7), size=(6, 5), **config):
    return Case(layer, (2, *size, channels), config, other)


def fixed(layer, channels, size=(4, 6), **config):
    return Case(layer, (2, *size, channels), config, None)


def token(layer, channels, other=(5,), tokens=9, **config):
    return Case(layer, (2, tokens, channels), config, other)


CASES = [
    image("ResidualAttention", 8, num_classes=5),
    image("ResidualAttention", 8, num_classes=3, temperatures=(1.0, 4.0, float("inf"))),
    image("ResidualAttention", 8, num_classes=3, lam=0.5, normalize=False),
    token("ExternalAttention", 8, memory_size=6),
    token("ExternalAttention", 8, memory_size=6, num_heads=2, expansion=2, use_bias=True),
    token("ExternalAttention", 8, memory_size=6, output_dim=10, dropout=0.2),
    token("ScaledDotProductAttention", 8, num_heads=2),
    token("ScaledDotProductAttention", 8, num_heads=2, key_dim=3, value_dim=5, output_dim=6),
    token("ScaledDotProductAttention", 8, num_heads=2, use_bias=False, dropout=0.2),
    token("SimplifiedScaledDotProductAttention", 8, num_heads=2),
    token("SimplifiedScaledDotProductAttention", 8, num_heads=4, output_dim=6, dropout=0.1),
    image("SEAttention", 8, reduction=4),
    image("SEAttention", 8, reduction=16, use_bias=True),
    image("SKAttention", 8, min_width=4),
    image("SKAttention", 8, kernel_sizes=(1, 3, 5), dilated=False, groups=2, min_width=4),
    image("CBAM", 8, reduction=4),
    image("CBAM", 8, reduction=2, kernel_size=3, pool_types=("avg", "max", "lp", "lse")),
    image("CBAM", 8, reduction=4, spatial=False),
    image("BAM", 8, reduction=2),
    image("BAM", 16, reduction=4, dilation=2, channel_layers=2, spatial_layers=1, combine="add"),
    image("ECAAttention", 8),
    image("ECAAttention", 8, kernel_size=5),
    image("DualAttention", 8, reduction=4),
    image("PositionAttention", 8, reduction=4),
    image("ChannelSelfAttention", 8),
    image("PyramidSqueezeAttention", 16, groups=(1, 2, 4, 4), reduction=2),
    image("PyramidSqueezeAttention", 16, size=(6, 8), filters=32, groups=(1, 4, 8, 8), strides=2),
    image("EfficientMultiHeadSelfAttention", 8, num_heads=2),
    image("EfficientMultiHeadSelfAttention", 8, num_heads=2, sr_ratio=2, qkv_bias=True),
    image("EfficientMultiHeadSelfAttention", 8, num_heads=1, key_dim=3, value_dim=5, dropout=0.1),
    Case("EfficientMultiHeadSelfAttention", (2, 9, 8), {"num_heads": 2}, (16,)),
    image("ShuffleAttention", 16, groups=4),
    token("MUSEAttention", 8, num_heads=2, kernel_sizes=(3, 5)),
    token("MUSEAttention", 8, num_heads=2, key_dim=3, value_dim=5, kernel_sizes=(3, 7),
          causal=True),
    image("SpatialGroupEnhance", 8, groups=4),
    image("DoubleAttention", 8),
    image("DoubleAttention", 8, feature_dim=6, num_maps=3, reconstruct=False),
    token("AFTFull", 8, max_length=12),
    token("AFTFull", 8, max_length=9, hidden_dim=6, output_dim=10, factorize=3),
    token("AFTLocal", 8, max_length=12, window_size=3),
    token("AFTSimple", 8),
    token("AFTSimple", 8, hidden_dim=6, output_dim=10),
    image("AFTConv", 8, num_heads=2, kernel_size=3),
    image("AFTConv", 8, num_heads=2, kernel_size=5, hidden_dim=6, output_dim=4),
    image("OutlookAttention", 8, num_heads=2),
    image("OutlookAttention", 8, num_heads=2, kernel_size=5, strides=2, qkv_bias=True),
    fixed("WeightedPermuteMLP", 8, segment_dim=4),
    fixed("WeightedPermuteMLP", 8, size=(4, 4), segment_dim=4, qkv_bias=True, dropout=0.1),
    fixed("RelativeSelfAttention", 8, num_heads=2, key_dim=4),
    fixed("RelativeSelfAttention", 8, num_heads=2, key_dim=3, output_dim=10, qkv_bias=False),
    image("MBConv", 8, filters=8),
    image("MBConv", 8, size=(6, 8), other=(4, 6), filters=12, strides=2, expansion=2),
    image("HaloAttention", 8, size=(4, 8), other=(8, 4), block_size=4, halo_size=1, num_heads=2),
    image("HaloAttention", 8, size=(4, 8), other=(8, 4), block_size=2, halo_size=2, num_heads=2,
          mask_padding=True, qkv_bias=True),
    image("ParallelPolarizedSelfAttention", 8),
    image("SequentialPolarizedSelfAttention", 24),
    image("CoTAttention", 16),
    image("CoTAttention", 16, kernel_size=5, key_groups=2, share_planes=4),
    image("S2Attention", 8),
    image("S2Attention", 8, reduction=2, use_bias=False),
    fixed("GlobalFilter", 8),
    fixed("GlobalFilter", 8, size=(5, 7), spatial_shape=(5, 7)),
    fixed("GlobalFilter", 4, size=(34, 33)),
    image("TripletAttention", 8),
    image("TripletAttention", 8, kernel_size=3, spatial=False),
    image("CoordinateAttention", 8),
    image("CoordinateAttention", 8, reduction=2, min_width=2),
    image("MobileViTBlock", 8, size=(4, 6), other=(6, 2), transformer_dim=8, num_blocks=1),
    image("MobileViTBlock", 8, other=(3, 4), transformer_dim=8, ffn_dim=12, head_dim=4,
          num_blocks=1, patch_size=(2, 3), dropout=0.1),
    image("ParNetAttention", 8),
    image("ParNetAttention", 8, activation="relu"),
    token("UFOAttention", 8, num_heads=2),
    token("UFOAttention", 8, num_heads=2, key_dim=3, value_dim=5, output_dim=6, norm_axis="value"),
    token("SeparableSelfAttention", 8),
    Case("SeparableSelfAttention", (2, 4, 9, 8), {"use_bias": False}, (4, 5)),
    image("MobileViTv2Block", 8, size=(4, 6), other=(6, 2), transformer_dim=8, num_blocks=1),
    image("MobileViTv2Block", 8, other=(3, 4), transformer_dim=8, ffn_dim=12, num_blocks=1),
]  # fmt: skip

assert {case.layer for case in CASES} == {name for m in MECHANISMS for name in m.layers}

WITHOUT_GRADIENT = {
    "AFTConv": ("key/bias",),
    "AFTFull": ("key/bias",),
    "AFTLocal": ("key/bias",),
    "AFTSimple": ("key/bias",),
    "ExternalAttention": ("expand/bias", "memory_key/bias"),
    "MUSEAttention": ("key/bias",),
    "ScaledDotProductAttention": ("key/bias",),
    "PositionAttention": ("key/bias",),
    "DualAttention": ("key/bias",),
    "EfficientMultiHeadSelfAttention": ("transform_bias", "key_value/bias", "reduce_norm/beta"),
    "SeparableSelfAttention": ("query/bias",),
    "MobileViTv2Block": ("query/bias",),
}
"""By layer: endings of the paths of weights that may have no gradient, because they shift alike all
scores of a softmax, or all that an instance norm sees."""


def each(cases):
    """Parametrize a test by cases. One process tests a layer, and compiles its operations once."""
    groups = [pytest.param(case, marks=pytest.mark.xdist_group(case.layer)) for case in cases]
    return pytest.mark.parametrize("case", groups, ids=lambda case: case.id)
