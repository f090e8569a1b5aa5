"""A user's file with every public name: neither mypy nor pyright finds a fault in it."""

from pathlib import Path

import attn_core
import keras
import numpy as np
from attn_core import (
    BAM,
    CBAM,
    AFTConv,
    AFTFull,
    AFTLocal,
    AFTSimple,
    Backup,
    ChannelSelfAttention,
    CoordinateAttention,
    CoTAttention,
    DoubleAttention,
    DualAttention,
    ECAAttention,
    EfficientMultiHeadSelfAttention,
    ExternalAttention,
    GlobalFilter,
    HaloAttention,
    MBConv,
    MobileViTBlock,
    MobileViTv2Block,
    MUSEAttention,
    OutlookAttention,
    ParallelPolarizedSelfAttention,
    ParNetAttention,
    PositionAttention,
    Profile,
    PyramidSqueezeAttention,
    RelativeSelfAttention,
    ResidualAttention,
    S2Attention,
    ScaledDotProductAttention,
    SEAttention,
    SeparableSelfAttention,
    SequentialPolarizedSelfAttention,
    ShuffleAttention,
    SimplifiedScaledDotProductAttention,
    SKAttention,
    SpatialGroupEnhance,
    TripletAttention,
    UFOAttention,
    WeightedPermuteMLP,
    attention_maps,
    catalog,
    compat,
    create_attention,
    distribution,
    insert_attention,
    layers,
    layout_map,
    load_torch_weights,
    models,
    profile,
    visualize,
)
from attn_core.layers import (
    AttentionLayer,
    ImageLayer,
    QueryLayer,
    TokenLayer,
)
from attn_core.models import (
    NAT,
    VAN,
    VOLO,
    AttentionResNet,
    CoAtNet,
    CoAtNetForm,
    CoTBottleneck,
    CoTNet,
    GFNet,
    GFNetPyramid,
    HaloNet,
    MobileViT,
    MobileViTv2,
    ParNet,
    Preprocess,
    ResNeSt,
    ResT,
    Swin,
    VisionPermutator,
)

print(attn_core.__version__)
image = keras.Input((14, 14, 64))
tokens = keras.Input((196, 64))

# Layers on images.
on_images: list[ImageLayer] = [
    AFTConv(num_heads=8, kernel_size=7, hidden_dim=32),
    BAM(reduction=8, dilation=4, name="bam"),
    CBAM(16, kernel_size=7, dtype="mixed_bfloat16"),
    ChannelSelfAttention(),
    CoTAttention(kernel_size=3, data_format="channels_last"),
    CoordinateAttention(reduction=32),
    DoubleAttention(),
    DualAttention(),
    ECAAttention(kernel_size=3),
    GlobalFilter(),
    HaloAttention(block_size=7, halo_size=3, num_heads=4, key_dim=16),
    MBConv(64, name="block", trainable=False),
    MobileViTBlock(96, num_blocks=2),
    MobileViTv2Block(64),
    OutlookAttention(num_heads=4),
    PyramidSqueezeAttention(),
    ParNetAttention(),
    ParallelPolarizedSelfAttention(),
    PositionAttention(),
    RelativeSelfAttention(num_heads=4, key_dim=16),
    ResidualAttention(10),
    S2Attention(),
    SEAttention(reduction=4, use_bias=True, dtype=keras.DTypePolicy("float16")),
    SKAttention(kernel_sizes=(3, 5)),
    SequentialPolarizedSelfAttention(),
    ShuffleAttention(groups=8),
    SpatialGroupEnhance(groups=8),
    TripletAttention(),
    WeightedPermuteMLP(8),
]
for layer in on_images:
    layer.build((None, 14, 14, 64))
    output = layer(image)
    height = layer.compute_output_shape((None, 14, 14, 64))[1]
    config = layer.get_config()

# Layers on tokens.
on_tokens: list[AttentionLayer] = [
    AFTFull(max_length=196),
    AFTLocal(max_length=196, window_size=32),
    AFTSimple(output_dim=32),
    EfficientMultiHeadSelfAttention(num_heads=8, sr_ratio=2),
    ExternalAttention(memory_size=64),
    SeparableSelfAttention(),
]
queries: list[QueryLayer] = [
    MUSEAttention(num_heads=8),
    ScaledDotProductAttention(8, key_dim=16, value_dim=16, dropout=0.1),
    SimplifiedScaledDotProductAttention(num_heads=8),
    UFOAttention(num_heads=8),
]
each: list[TokenLayer] = [*queries]
for one in queries:
    output, attention = one(tokens, tokens, tokens, return_attention_scores=True)

# `call` has the arguments of each layer.
SEAttention(4).call(np.ones((1, 7, 7, 64)), return_attention_scores=True)
ScaledDotProductAttention(8).call(tokens, tokens, tokens, return_attention_scores=False)

# A layer of one's own.


class Mine(SEAttention):
    """A gate with another reduction."""

    def __init__(self, reduction: int = 8) -> None:
        super().__init__(reduction, name="mine")


# Networks.
networks: list[keras.Model] = [
    AttentionResNet(("se", None, "cbam", "gc"), attention_options={"reduction": 8}),
    CoAtNet(embed_dim=(96, 192, 384, 768), depths=(2, 3, 5, 2), image_size=(224, 160)),
    CoTNet(num_classes=10),
    GFNet(embed_dim=256, depths=12, image_size=224, include_top=False),
    GFNetPyramid(name="pyramid"),
    HaloNet(block_size=(8, 8, 8, 4), num_heads=8),
    MobileViT(dropout=0.1),
    MobileViTv2(dtype="mixed_float16"),
    NAT(kernel_size=(7, 7, 5, 3), layer_scale=1e-5),
    ParNet(),
    ResNeSt(radix=4),
    ResT(),
    Swin(window_size=(7, 7, 14, 7), image_size=(224, 448)),
    VAN((64, 128, 320, 512), layer_scale=None),
    VOLO(),
    VisionPermutator(),
    CoAtNet.from_variant("coatnet_0", num_classes=10),
]
keras.Sequential([CoTBottleneck(64)])
names: list[str] = CoAtNet.list_variants()
backbone = CoAtNet(image_size=224).resized(384).feature_maps()

# What is done with them.
model = keras.Model(image, CBAM(16, kernel_size=7)(image))
inserted: keras.Model = insert_attention(model, "cbam", "residual_branch", reduction=8)
insert_attention(model, SEAttention, "block")
insert_attention(model, lambda layer: SEAttention(4), lambda layer: layer.name == "conv")
made: keras.layers.Layer | None = create_attention("cbam:reduction=8", kernel_size=5)
create_attention(SEAttention, reduction=4)
found = attention_maps(model, np.ones((1, 14, 14, 64)))
shapes = {path: one.shape for path, one in found.items() if isinstance(one, np.ndarray)}
figure = visualize(model, np.ones((14, 14, 64)), layer="cbam", head=0, query=(3, 4))
figure.savefig("maps.png")
cost: Profile = profile(model, (1, 14, 14, 64), modes=("eager", "compiled"), seconds=0.5)
total: int = cost.total_multiply_adds
fastest = min(latency.least_ms for steps in cost.latency.values() for latency in steps.values())
load_torch_weights(SEAttention(), "se.safetensors", prefix="layer1.0.se.")
load_torch_weights(SEAttention(), Path("se.npz")).scheme.upper()
CoAtNet().preprocess = Preprocess(224, 0.95, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
load_torch_weights(SEAttention(), {"fc.0.weight": np.ones((4, 64))})
model.fit(callbacks=[Backup("backup"), Backup(Path("other"))])
mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])
layouts = layout_map(model, mesh, axis="model", min_size=2**14)
distribution.layout_map(layers.SEAttention(), mesh)
models.CoAtNet(form=CoAtNetForm(norm="batch"), stem_width=(32, 64))
models.CoAtNet(form={"norm": "batch"})

# The catalog.
for mechanism in catalog.MECHANISMS:
    text: str = f"{mechanism.key} {mechanism.year} {', '.join(mechanism.layers)}"
family = catalog.FAMILIES[catalog.get("se").family].title
cases = catalog.LAYERS["SEAttention"].cases

# The names of the External-Attention collections.
compat.ACmix(64, 64, head=8)
compat.AFT_FULL(64, n=196)
compat.AxialAttention(64, dim_index=1)
compat.BAMBlock()
compat.CBAMBlock()
compat.CoAtNet(3, 224, out_chs=(64, 96, 192, 384, 768))
compat.CoTAttention()
compat.CoordAtt(64, 64)
compat.CrissCrossAttention(64)
compat.CrossFormerAttention(64, group_size=(7, 7), num_heads=4)
compat.DAModule()
compat.DAttentionBaseline(
    (14, 14), (14, 14), 12, 32, 3, 0.0, 0.0, 1, 2, True, False, False, False, stage_idx=2
)
compat.DoubleAttention(64)
compat.ECAAttention()
compat.EMSA(d_model=64, d_k=64, d_v=64, h=8, H=14, W=14, ratio=2)
compat.ExternalAttention()
compat.GFNet()
compat.HaloAttention(64, block_size=7, halo_size=3)
compat.MUSEAttention()
compat.MobileViTAttention()
compat.MobileViTv2Attention(64)
compat.OutlookAttention(64, num_heads=4)
compat.PSA()
compat.ParNetAttention()
compat.ParallelPolarizedSelfAttention()
compat.ResidualAttention()
compat.S2Attention()
compat.SEAttention(64, reduction=8)
compat.SKAttention(64, kernels=(1, 3), L=16)
compat.ScaledDotProductAttention(d_model=64, d_k=64, d_v=64, h=8)
compat.SequentialPolarizedSelfAttention()
compat.ShuffleAttention()
compat.SimAM()
compat.SimplifiedScaledDotProductAttention()
compat.SpatialGroupEnhance()
compat.TripletAttention()
compat.UFOAttention()
compat.WeightedPermuteMLP(64, seg_dim=8)
compat.simam_module(e_lambda=1e-4)
