"""Global filter (GFNet)."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, normal

RECORD = Mechanism(
    number=25,
    name="Global filter (GFNet)",
    layers={
        "GlobalFilter": LayerRecord(
            orders={"filter": "(row; column; channel; real and imaginary part)"},
            cases=(
                fixed_image(8),
                fixed_image(8, size=(5, 7), spatial_shape=(5, 7)),
                fixed_image(4, size=(34, 33)),
            ),
            starts={"filter": normal(0.02)},
        ),
    },
    input="image",
    summary=(
        "Multiplies the spectrum of the image by a learned filter; this equals a convolution as "
        "large as the image."
    ),
    title="Global Filter Networks for Image Classification",
    authors="Rao, Zhao, Zhu, Lu, Zhou",
    year=2021,
    venue="NeurIPS 2021",
    arxiv="2107.00645",
    reference="raoyongming/GFNet",
    aliases=("gfnet", "gf"),
    use=(
        "Each output depends on every pixel, in O(N log N) time and without an attention map. Use "
        "it instead of self-attention at a fixed image size."
    ),
    flow=("x -> real FFT over H, W -> times learned filter -> inverse FFT -> y",),
    parameters="2 * H * F * C",
    multiply_adds="2 * C * (N * log2(W) + 2 * H * F * log2(H)) + 4 * H * F * C",
    symbols={"F": ("⌊W / 2⌋ + 1", "W // 2 + 1")},
    tasks=("classification", "dense prediction"),
    related=("vip", "aft"),
    networks=("GFNet", "GFNetPyramid"),
)
