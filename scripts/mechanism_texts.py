"""What the catalog leaves to the site: per mechanism its use, data flow, costs and relatives."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """What a mechanism's page says beyond catalog and docstrings.

    Attributes:
        use: When to use it, in two sentences; they follow the catalog's one.
        flow: The drawing: chains of steps, each from `x` or a step of an earlier chain to `y` or a
            step of another, the leftmost first. "*" is a product; what follows "#" only tells
            equal steps apart.
        parameters: Number of trainable parameters of the principal layer, a Python expression in
            C, H, W, N = H W and `symbols`.
        multiply_adds: Its multiply-adds for one sample, likewise.
        symbols: What other letters stand for, with their values in the worked example.
        tasks: What it is for: "classification", "dense prediction", "mobile", "sequences".
        related: Keys of mechanisms to see also.
        networks: Networks of `attn_core.models` that it is part of.
    """

    use: str
    flow: tuple[str, ...]
    parameters: str
    multiply_adds: str
    symbols: dict[str, tuple[str, int]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("classification",)
    related: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


SIZE = {"C": 256, "H": 14, "W": 14}
"""Channels, height and width of the worked examples."""

CONFIGS = {
    "AFTConv": {"num_heads": 8, "kernel_size": 7},
    "AFTFull": {"max_length": 196},
    "AFTLocal": {"max_length": 196, "window_size": 16},
    "EfficientMultiHeadSelfAttention": {"sr_ratio": 2},
    "HaloAttention": {"block_size": 7},
    "MBConv": {"filters": 256},
    "OutlookAttention": {"num_heads": 8},
    "ResidualAttention": {"num_classes": 80},
}
"""By layer: the arguments of the examples, where the defaults do not serve."""

BOTH = ("classification", "dense prediction")
LIGHT = ("classification", "mobile")

TEXTS = {
    "residual": Text(
        "It takes the place of the global pooling and the classifier behind it, so nothing else of "
        "a network changes. Use it where several objects share an image, as in multi-label "
        "classification.",
        ("x -> 1x1 scores per class -> softmax over positions -> weighted mean -> lambda * -> + -> "
         "y",
         "1x1 scores per class -> mean over positions -> +",
         "1x1 scores per class -> weighted mean"),
        "C * K", "N * K * (C + 1)", {"K": ("classes", 80)},
        related=("se", "double"),
    ),
    "external": Text(
        "Two linear layers hold keys and values that all samples share, so cost grows with the "
        "tokens and not with their square. Use it in place of self-attention on long inputs or "
        "large feature maps.",
        ("x -> keys of the memory -> softmax over tokens -> norm over slots -> "
         "values of the memory -> y",),
        "2 * C * S", "2 * N * C * S", {"S": ("memory slots", 64)},
        tasks=BOTH, related=("dot-product", "ufo", "mobilevit2"),
    ),
    "dot-product": Text(
        "Keys and values may come from another sequence, and masks say who sees whom. Use it "
        "wherever tokens have to find each other and their number is moderate; it is the measure "
        "of all others.",
        ("x -> query -> scores / √d -> softmax over keys -> * values -> output map -> y",
         "x -> key -> scores / √d", "x -> value -> * values"),
        "4 * C**2 + 4 * C", "4 * N * C**2 + 2 * N**2 * C",
        tasks=("classification", "dense prediction", "sequences"),
        related=("simplified", "emsa", "ufo", "muse"),
    ),
    "simplified": Text(
        "The channels themselves serve as queries, keys and values, which leaves a quarter of the "
        "parameters. Use it behind a layer that already projects, or to see what the projections "
        "are worth.",
        ("x -> scores / √d -> softmax over keys -> * values -> output map -> y",
         "x -> * values"),
        "C**2 + C", "N * C**2 + 2 * N**2 * C",
        tasks=("classification", "sequences"), related=("dot-product",),
    ),
    "se": Text(
        "Its cost vanishes beside that of a convolution, and it fits any network. Use it first, at "
        "the end of each residual branch, and measure everything else against it.",
        ("x -> mean over H, W -> dense to C / r, relu -> dense to C, sigmoid -> * -> y", "x -> *"),
        "2 * C**2 / r", "2 * C**2 / r", {"r": ("reduction", 16)},
        tasks=LIGHT, related=("eca", "cbam", "sge", "coordinate"), networks=("CoAtNet",),
    ),
    "sk": Text(
        "Each branch is a convolution of its own, so it replaces the 3x3 convolution of a block "
        "rather than follow it. Use it where objects come in many sizes and the cost of two "
        "convolutions is at hand.",
        ("x -> 3x3 conv, BN, relu -> + -> mean over H, W -> dense to d, BN, relu -> "
         "softmax over branches -> weighted sum -> y",
         "x -> dilated 3x3 conv, BN, relu -> +",
         "3x3 conv, BN, relu -> weighted sum", "dilated 3x3 conv, BN, relu -> weighted sum"),
        "18 * C**2 + 4 * C + 3 * C * d + 2 * d", "18 * N * C**2 + 2 * N * C + 3 * C * d",
        {"d": ("hidden width", 32)}, tasks=BOTH, related=("pyramid-squeeze", "parnet", "cot"),
    ),
    "cbam": Text(
        "Maxima stand beside averages, and a second gate says where to look. Use it where the "
        "position of an object matters, at the end of each residual branch.",
        ("x -> mean and max over H, W -> shared MLP -> sum, sigmoid -> * -> "
         "max and mean over C -> 7x7 conv, BN, sigmoid -> *#2 -> y", "x -> *", "* -> *#2"),
        "2 * C**2 / r + C + C / r + 2 * k**2 + 2", "4 * C**2 / r + 2 * k**2 * N",
        {"r": ("reduction", 16), "k": ("kernel size", 7)},
        tasks=BOTH, related=("bam", "se", "triplet", "coordinate"),
    ),
    "bam": Text(
        "Channel and position meet in one gate between 1 and 2, so nothing is ever shut off. Use "
        "it between the stages of a network, where its authors put it, a few times in all.",
        ("x -> mean over H, W -> MLP over C -> c · s, sigmoid -> 1 + gate -> * -> y",
         "x -> 1x1 conv to C / r -> two dilated 3x3 convs -> 1x1 conv to 1 -> c · s, sigmoid",
         "x -> *"),
        "3 * C * d + 18 * d**2 + C + 13 * d + 1", "2 * C * d + N * (C * d + 18 * d**2 + d)",
        {"d": ("C / reduction", 16)}, tasks=BOTH, related=("cbam", "se"),
    ),
    "eca": Text(
        "A handful of weights does what two dense layers do in squeeze-and-excitation. Use it "
        "where every parameter counts, at the end of each residual branch.",
        ("x -> mean over H, W -> conv along C -> sigmoid -> * -> y", "x -> *"),
        "k", "k * C", {"k": ("kernel size", 5)}, tasks=LIGHT, related=("se", "shuffle"),
    ),
    "dual": Text(
        "Both paths open from zero, so it can be put on a trained network without disturbing it. "
        "Use it on the last feature map for segmentation; its map grows with the square of the "
        "positions.",
        ("x -> position attention -> gamma * -> + -> +#2 -> y", "x -> +",
         "x -> channel attention -> gamma *#2 -> +#3 -> +#2", "x -> +#3"),
        "C**2 + 2 * C * d + C + 2 * d + 2",
        "3 * N * C**2 + 2 * N * C * d + N**2 * (C + d) + 2 * N * C", {"d": ("C / reduction", 32)},
        tasks=("dense prediction",), related=("double", "dot-product", "polarized"),
    ),
    "pyramid-squeeze": Text(
        "Its convolutions have more groups the larger they are, so that four sizes cost less than "
        "one full convolution. Use it in place of the 3x3 convolution of a residual block.",
        ("x -> four grouped convs, 3x3 to 9x9 -> mean over H, W -> SE, one for all four -> "
         "softmax over the four -> * -> join along C -> y",
         "four grouped convs, 3x3 to 9x9 -> *"),
        "423 * C**2 / 64 + 2 * c**2 / r + c / r + c", "423 * N * C**2 / 64 + 8 * c**2 / r",
        {"c": ("C / 4", 64), "r": ("reduction", 16)}, tasks=BOTH, related=("sk", "se"),
    ),
    "emsa": Text(
        "A strided convolution shrinks the image that keys and values come from, and the heads "
        "exchange their scores. Use it for self-attention on large feature maps, with a ratio that "
        "falls from stage to stage.",
        ("x -> query -> scores / √d -> conv over heads -> softmax, instance norm -> * values -> "
         "output map -> y",
         "x -> strided depthwise conv, LN -> key -> scores / √d",
         "strided depthwise conv, LN -> value -> * values"),
        "4 * C**2 + (s + 1)**2 * C + 4 * C + h**2 + h",
        "2 * N * C**2 + 2 * M * C**2 + (s + 1)**2 * M * C + 2 * N * M * C + h**2 * N * M",
        {"s": ("sr_ratio", 2), "M": ("N / s²", 49), "h": ("heads", 8)},
        tasks=BOTH, related=("dot-product", "halo"), networks=("ResT",),
    ),
    "shuffle": Text(
        "A few numbers per group gate channels and positions, and a shuffle lets the groups mix. "
        "Use it where CBAM is too heavy, at the end of each residual branch.",
        ("x -> first half of each group -> mean over H, W -> scale, shift, sigmoid -> * -> "
         "shuffle channels -> y",
         "first half of each group -> *",
         "x -> second half of each group -> norm over H, W -> scale, shift, sigmoid#2 -> *#2 -> "
         "shuffle channels",
         "second half of each group -> *#2"),
        "3 * C / G", "0", {"G": ("groups", 64)}, tasks=LIGHT, related=("sge", "eca", "cbam"),
    ),
    "muse": Text(
        "Convolutions whose kernels the tokens predict catch what is near, the attention what is "
        "far. Use it in transformers for sequences, with `causal=True` in decoders.",
        ("x -> value -> attention -> join -> output map -> y",
         "x -> query and key -> attention",
         "value -> kernels of every token -> dynamic convs, weighed -> join",
         "value -> dynamic convs, weighed"),
        "5 * C**2 + 18 * C * h + 4 * C + 2",
        "5 * N * C**2 + 2 * N**2 * C + 18 * N * C * h + 15 * N * C", {"h": ("heads", 8)},
        tasks=("sequences",), related=("dot-product", "aft", "cot"),
    ),
    "sge": Text(
        "Two numbers per group are all its weights, and a position is weighed by how much it looks "
        "like its group. Use it where positions matter and parameters do not come cheap.",
        ("x -> · mean over H, W -> norm over H, W -> scale, shift, sigmoid -> * -> y",
         "x -> *"),
        "2 * G", "N * C", {"G": ("groups", 64)}, tasks=LIGHT,
        related=("shuffle", "se", "cbam"),
    ),
    "double": Text(
        "Every position sees the whole image through a few global features, at a cost linear in "
        "the positions. Use it where non-local attention would be too dear, in the middle of a "
        "network.",
        ("x -> features A -> gather: G = Bᵀ A -> hand out: V G -> output map -> y",
         "x -> softmax over positions B -> gather: G = Bᵀ A",
         "x -> softmax over maps V -> hand out: V G"),
        "4 * C * m + C + 3 * m", "4 * N * C * m + 2 * N * m**2", {"m": ("C / 4", 64)},
        tasks=BOTH, related=("dual", "external"),
    ),
    "aft": Text(
        "Learned biases between positions stand in for the dot products, so no map is kept for "
        "every head. Use `AFTSimple` or `AFTConv` for long inputs, `AFTFull` for a fixed number of "
        "tokens.",
        ("x -> query -> sigmoid -> * -> y",
         "x -> key -> exp(k + w) -> weighted mean over tokens -> *",
         "x -> value -> weighted mean over tokens"),
        "3 * C**2 + 3 * C + L**2", "3 * N * C**2 + 2 * N**2 * C", {"L": ("max_length", 196)},
        tasks=("classification", "sequences"), related=("ufo", "external", "muse"),
    ),
    "outlook": Text(
        "The map of a window comes from one dense layer on its centre, without queries and keys. "
        "Use it on fine feature maps, early in a network, where full attention would be too dear.",
        ("x -> value -> k x k windows -> weighted sum -> fold: add overlaps -> output map -> y",
         "x -> map of k² x k² -> softmax -> weighted sum"),
        "2 * C**2 + C + h * k**4 * (C + 1)", "2 * N * C**2 + N * C * k**4 * (h + 1)",
        {"h": ("heads", 8), "k": ("kernel size", 3)},
        tasks=BOTH, related=("halo", "cot"), networks=("VOLO",),
    ),
    "vip": Text(
        "Positions are told apart along each axis, which plain token mixing loses. Use it in "
        "networks without attention, at a fixed image size.",
        ("x -> mix along H -> weigh and add -> output map -> y",
         "x -> mix along W -> weigh and add",
         "x -> mix along C -> weigh and add",
         "mix along C -> mean over H, W, MLP, softmax -> weigh and add"),
        "(H * S)**2 + (W * S)**2 + 3 * C**2 + 17 * C / 4",
        "N * C * S * (H + W) + 2 * N * C**2 + C**2 + 3 * N * C",
        {"S": ("C / segment_dim", 32)},
        related=("s2", "global-filter"), networks=("VisionPermutator",),
    ),
    "coatnet": Text(
        "The bias plays the convolution's part, the scores that of attention. Use it in the late "
        "stages of a network, behind stages of `MBConv`.",
        ("x -> query -> scores / √d + bias of the offset -> softmax over keys -> * values -> "
         "output map -> y",
         "x -> key -> scores / √d + bias of the offset", "x -> value -> * values"),
        "4 * C * h * d + 3 * h * d + C + h * (2 * H - 1) * (2 * W - 1)",
        "4 * N * C * h * d + 2 * N**2 * h * d", {"h": ("heads", 8), "d": ("key_dim", 32)},
        tasks=BOTH, related=("dot-product", "halo", "mobilevit"), networks=("CoAtNet",),
    ),
    "halo": Text(
        "Attention stays local, and its cost linear in the positions, while neighbouring blocks "
        "still see each other. Use it in place of the 3x3 convolution of late stages.",
        ("x -> blocks of b x b -> query -> scores / √d + offsets -> softmax over window -> "
         "* values -> y",
         "x -> windows with halo -> key -> scores / √d + offsets",
         "windows with halo -> value -> * values"),
        "3 * C**2 + 2 * (2 * w - 1) * d", "3 * N * C**2 + 2 * N * C * w**2 + 2 * N * C * w",
        {"w": ("block_size + 2 halo_size", 13), "d": ("width of a head", 32)},
        tasks=BOTH, related=("outlook", "coatnet", "cot"),
    ),
    "polarized": Text(
        "One axis is collapsed while the other keeps its full resolution, which suits outputs for "
        "every pixel. Use it in networks for poses or segmentation, inside each residual block.",
        ("x -> softmax over positions -> weighted mean, dense, sigmoid -> + -> * -> y",
         "x -> mean over H, W, query -> · values, softmax, sigmoid -> +",
         "x -> *"),
        "2 * C**2 + C", "3 * N * C + 2 * C**2",
        tasks=("dense prediction",), related=("cbam", "dual", "coordinate"),
    ),
    "cot": Text(
        "It replaces the 3x3 convolution of a residual block: one convolution gives the context, "
        "from which local kernels are predicted. Use it where attention is to be as local and as "
        "cheap as convolution.",
        ("x -> value -> local mixing -> BN, silu -> weigh and add -> y",
         "x -> k x k conv -> join with x, two 1x1 convs -> local mixing",
         "x -> join with x, two 1x1 convs",
         "k x k conv -> weigh and add"),
        "101 * C**2 / 16 + 111 * C / 8", "77 * N * C**2 / 16 + 3 * C**2 / 2 + 11 * N * C",
        tasks=BOTH, related=("outlook", "halo", "sk"), networks=("CoTNet",),
    ),
    "s2": Text(
        "Shifts carry what lies around a pixel into its channels for nothing, and split attention "
        "weighs the ways of shifting. Use it in networks of dense layers alone, at any image size.",
        ("x -> dense to 3 C -> shift one way -> split attention -> dense to C -> y",
         "dense to 3 C -> shift the other way -> split attention",
         "dense to 3 C -> leave in place -> split attention"),
        "4 * C**2 + 4 * C**2 / r + 4 * C", "4 * N * C**2 + 4 * C**2 / r + 3 * N * C",
        {"r": ("reduction", 4)}, related=("vip", "shuffle"),
    ),
    "global-filter": Text(
        "The Fourier transform makes every pixel see every other in log-linear time, without an "
        "attention map. Use it in place of self-attention at a fixed image size.",
        ("x -> real FFT over H, W -> * learned filter -> inverse FFT -> y",),
        "2 * H * F * C", "2 * C * (N * log2(W) + 2 * H * F * log2(H)) + 4 * H * F * C",
        {"F": ("⌊W / 2⌋ + 1", 8)}, tasks=BOTH, related=("vip", "aft"),
        networks=("GFNet", "GFNetPyramid"),
    ),
    "triplet": Text(
        "Three small convolutions catch how channels and positions go together, with a few hundred "
        "weights at any width. Use it at the end of each residual branch.",
        ("x -> max, mean over H -> conv over W, C -> sigmoid -> * -> mean of three -> y",
         "x -> max, mean over W -> conv over H, C -> sigmoid#2 -> *#2 -> mean of three",
         "x -> max, mean over C -> conv over H, W -> sigmoid#3 -> *#3 -> mean of three"),
        "3 * (2 * k**2 + 2)", "2 * k**2 * (H * W + H * C + W * C)", {"k": ("kernel size", 7)},
        tasks=LIGHT, related=("cbam", "coordinate"),
    ),
    "coordinate": Text(
        "Averages along rows and columns keep the place that a global average loses, at the cost "
        "of squeeze-and-excitation. Use it in mobile networks, in the place of that.",
        ("x -> mean over W -> join, dense to m, BN, h-swish -> dense to C, sigmoid (rows) -> * -> "
         "y",
         "x -> mean over H -> join, dense to m, BN, h-swish -> dense to C, sigmoid (columns) -> *",
         "x -> *"),
        "3 * C * m + 2 * C + 3 * m", "2 * C * m * (H + W)", {"m": ("hidden width", 8)},
        tasks=("classification", "dense prediction", "mobile"), related=("se", "triplet", "cbam"),
    ),
    "mobilevit": Text(
        "It is a stage rather than a gate: it stands between the inverted residuals of a light "
        "network. Use it where a small CNN has to see the whole image.",
        ("x -> 3x3 conv -> 1x1 conv to d -> unfold patches -> transformer x L -> fold -> "
         "1x1 conv to C -> join with x -> 3x3 conv#2 -> y", "x -> join with x"),
        "27 * C**2 + 6 * C + 2 * C * d + L * (8 * d**2 + 11 * d) + 2 * d",
        "27 * N * C**2 + 2 * N * C * d + L * (8 * N * d**2 + N**2 * d / 2)",
        {"d": ("transformer_dim", 144), "L": ("transformer layers", 2)},
        tasks=("classification", "dense prediction", "mobile"), related=("mobilevit2", "coatnet"),
        networks=("MobileViT",),
    ),
    "parnet": Text(
        "After training, `fuse()` folds the convolutions into one, so inference pays for a single "
        "3x3 convolution. Use it in place of the blocks of a shallow, wide network.",
        ("x -> 3x3 conv, BN -> + -> activation -> y", "x -> 1x1 conv, BN -> +",
         "x -> BN -> mean over H, W -> dense, sigmoid -> * -> +", "BN -> *"),
        "11 * C**2 + 6 * C", "10 * N * C**2 + C**2 + N * C",
        related=("se", "sk"), networks=("ParNet",),
    ),
    "ufo": Text(
        "Without a softmax, keys and values are multiplied first, and cost grows with the tokens "
        "alone. Use it for long inputs where the attention map itself is not of interest.",
        ("x -> query -> norm over features -> * -> output map -> y",
         "x -> key -> Kᵀ V -> norm -> *", "x -> value -> Kᵀ V"),
        "4 * C**2 + 4 * C + h", "4 * N * C**2 + 2 * N * C**2 / h", {"h": ("heads", 8)},
        tasks=("classification", "sequences"), related=("external", "dot-product", "aft"),
    ),
    "mobilevit2": Text(
        "One context vector per sample replaces the map of all pairs, without matrix products "
        "between tokens. Use it on phones, in the place of multi-head attention.",
        ("x -> value, relu -> * -> output map -> y",
         "x -> one score per token -> softmax over tokens -> weighted sum -> key map -> *",
         "x -> weighted sum"),
        "3 * C**2 + 4 * C + 1", "2 * N * C**2 + C**2 + 2 * N * C",
        tasks=("classification", "dense prediction", "mobile"),
        related=("mobilevit", "external", "ufo"), networks=("MobileViTv2",),
    ),
}  # fmt: skip
"""By the mechanism's key in the catalog."""
