"""Pyramid squeeze attention (EPSA)."""

from attn_core.catalog._record import LayerRecord, Mechanism, image

RECORD = Mechanism(
    number=11,
    name="Pyramid squeeze attention (EPSA)",
    layers={
        "PyramidSqueezeAttention": LayerRecord(
            cases=(
                image(16, groups=(1, 2, 4, 4), reduction=2),
                image(16, size=(6, 8), filters=32, groups=(1, 4, 8, 8), strides=2),
            ),
            legal={
                "filters": [None, 16],
                "groups": [(1, 1, 1, 1), (1, 2, 2, 2)],
                "strides": [1, 2],
                "reduction": [1, 4],
            },
            drawn=("stack",),
        ),
    },
    input="image",
    summary=(
        "Computes four convolutions with different kernel sizes, and weights them by a softmax "
        "over the four."
    ),
    title="EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional Neural Network",
    authors="Zhang, Zu, Lu, Zou, Meng",
    year=2021,
    venue="ACCV 2022",
    arxiv="2105.14447",
    reference="murufeng/EPSANet",
    aliases=("psa", "epsanet"),
    use=(
        "Larger kernels have more groups, so that all four convolutions together cost less than "
        "one full 3x3 convolution. Use it instead of the 3x3 convolution of a residual block."
    ),
    flow=(
        (
            "x -> four grouped convs, 3x3 to 9x9 -> mean over H, W -> one SE, shared by the four -> "
            "softmax over the four -> * -> concatenate along C -> y"
        ),
        "four grouped convs, 3x3 to 9x9 -> *",
    ),
    parameters="423 * C**2 / 64 + 2 * c * w + w + c",
    multiply_adds="423 * N * C**2 / 64 + 8 * c * w",
    maps="4 * c",
    options={"reduction": 16},
    symbols={"c": ("C / 4", "C // 4"), "w": ("c / reduction", "max(1, c // reduction)")},
    needs=("C % 64 == 0",),
    tasks=("classification", "dense prediction"),
    related=("sk", "se"),
    networks=("AttentionResNet",),
    small={"groups": (1, 2, 4, 4), "reduction": 4},
)
