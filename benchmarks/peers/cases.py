"""The cases: a layer, the peer that computes the same, and the input that both receive."""

from dataclasses import dataclass, field
from typing import Any

IMAGE, LARGE, TOKENS = (8, 14, 14, 256), (4, 56, 56, 64), (8, 196, 256)


@dataclass(frozen=True)
class Case:
    """A layer and its peer.

    Attributes:
        layer: Name of the layer in attn-core.
        peer: Where the peer is: a class of timm, of PyTorch or of Keras, or, where building it
            takes more than its arguments, the name of a function in `modules.BUILDERS`.
        arguments: Arguments of the layer.
        peer_arguments: Arguments of the peer.
        shape: Shape of the input, channels last.
        call: How the peer receives the input, a key of `modules.CALLS`.
    """

    layer: str
    peer: str
    arguments: dict[str, Any] = field(default_factory=dict)
    peer_arguments: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = IMAGE
    call: str = "channels first"

    @property
    def key(self) -> str:
        """The name of the case, for example `SEAttention@4x56x56x64`."""
        size = "x".join(map(str, self.shape))
        library = "" if self.library == "timm" else f":{self.library}"
        return f"{self.layer}{library}@{size}"

    @property
    def library(self) -> str:
        """What a user installs to have the peer."""
        return self.peer.partition(".")[0]


def gates() -> list[Case]:
    """Return the gates, at a small and at a large map, where the tensor is the cost."""
    cases = []
    for shape in (IMAGE, LARGE):
        channels = shape[-1]
        one = {"channels": channels}
        smaller = {"channels": channels, "rd_channels": channels // 16}
        coordinates = {"channels": channels, "rd_channels": max(8, channels // 32)}
        fused = smaller | {"fuse_add": True, "fuse_scale": False}
        rows = [
            ("SEAttention", "timm.layers.SEModule", {"use_bias": True}, smaller),
            ("EffectiveSEAttention", "timm.layers.EffectiveSEModule", {}, one),
            ("ECAAttention", "timm.layers.EcaModule", {}, one),
            ("CBAM", "timm.layers.cbam.CbamModule", {"use_bias": False}, smaller),
            ("GlobalContextAttention", "timm.layers.GlobalContext", {}, fused),
            (
                "CoordinateAttention",
                "timm.layers.coord_attn.CoordAttn",
                {"use_bias": False},
                coordinates,
            ),
            ("StripAttention", "timm.layers.coord_attn.StripAttn", {}, one),
            ("EfficientLocalAttention", "timm.layers.coord_attn.EfficientLocalAttn", {}, one),
        ]
        cases += [Case(*row, shape=shape) for row in rows]
    return cases


def images() -> list[Case]:
    """Return the mechanisms that mix the positions of a map, and the blocks made of them."""
    width = {"in_channels": 256}
    dim = {"dim": 256}
    kernels = width | {"out_channels": 256, "split_input": False, "rd_channels": 32}
    half = width | {"rd_channels": 128}
    blocks = half | {"groups": 4, "drop_rate": 0.0}
    squared = dim | {"feat_size": (14, 14)}
    block = {"in_chs": 256, "transformer_depth": 2, "patch_size": 2}
    return [
        Case("SKAttention", "timm.layers.SelectiveKernel", {}, kernels),
        Case("SplitAttention", "timm.layers.SplitAttn", {}, width),
        Case("NonLocalAttention", "timm.layers.NonLocalAttn", {}, half),
        Case("BilinearAttention", "timm.layers.BatNonLocalAttn", {"use_bias": False}, blocks),
        Case("BottleneckSelfAttention", "timm.layers.bottleneck_attn.BottleneckAttn", {}, squared),
        Case(
            "HaloAttention",
            "timm.layers.halo_attn.HaloAttn",
            {"block_size": 7},
            dim | {"block_size": 7},
        ),
        Case("LambdaAttention", "timm.layers.lambda_layer.LambdaLayer", {}, dim),
        Case(
            "WindowAttention",
            "timm.models.swin_transformer.WindowAttention",
            {},
            dim | {"num_heads": 8},
            call="windows",
        ),
        Case(
            "OutlookAttention",
            "timm.models.volo.OutlookAttention",
            {},
            dim | {"num_heads": 1},
            call="as it is",
        ),
        Case("RelativeSelfAttention", "timm.models.maxxvit.Attention2d", {}, dim),
        Case(
            "MBConv",
            "timm.models.maxxvit.MbConvBlock",
            {"filters": 256},
            {"in_chs": 256, "out_chs": 256},
        ),
        Case(
            "MobileViTBlock",
            "timm.models.mobilevit.MobileVitBlock",
            {},
            block | {"transformer_dim": 144},
        ),
        Case(
            "MobileViTv2Block",
            "timm.models.mobilevit.MobileVitV2Block",
            {},
            block | {"transformer_dim": 128},
        ),
    ]


def tokens() -> list[Case]:
    """Return the mechanisms on tokens."""
    heads = {"embed_dim": 256, "num_heads": 8, "batch_first": True}
    rows = [
        ("torch.nn.MultiheadAttention", heads, "self-attention"),
        ("timm.layers.Attention", {"dim": 256, "qkv_bias": True}, "as it is"),
        ("keras.layers.MultiHeadAttention", {"num_heads": 8, "key_dim": 32}, "self-attention"),
    ]
    dot_product = [
        Case("ScaledDotProductAttention", peer, {}, given, TOKENS, call)
        for peer, given, call in rows
    ]
    differential = {"dim": 256}
    return [
        *dot_product,
        Case(
            "DifferentialAttention",
            "timm.layers.DiffAttention",
            {},
            differential,
            TOKENS,
            "as it is",
        ),
    ]


CASES = {case.key: case for case in (*gates(), *images(), *tokens())}
