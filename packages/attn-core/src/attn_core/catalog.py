"""The 31 mechanisms as data: the one list that documents, command and tests iterate over."""

from dataclasses import dataclass
from difflib import get_close_matches

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Mechanism:
    """One published mechanism.

    Attributes:
        number: Its number in the table of the documentation, 1 to 31.
        key: Its name on the command line.
        name: The name in the literature.
        layers: The layer classes that implement it, the principal one first.
        family: The folder of `attn_core.layers` that holds them.
        kind: What it takes: "image", "token" or "image or token".
        summary: What it does, in one sentence.
        title: Title of the paper ("" where there is none).
        authors: Its authors, by surname.
        year: Year of its first publication.
        arxiv: Its arXiv identifier ("" where there is none).
        reference: The code that fixes the numbers: a repository, or where none was released, the
            paper's equations.
        aliases: Other names by which people look for it.
    """

    number: int
    key: str
    name: str
    layers: tuple[str, ...]
    family: str
    kind: str
    summary: str
    title: str
    authors: str
    year: int
    arxiv: str
    reference: str
    aliases: tuple[str, ...] = ()

    @property
    def paper_url(self) -> str:
        """Address of the paper ("" where there is none)."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""

    @property
    def reference_url(self) -> str:
        """Address of the reference code ("" where the equations of the paper serve)."""
        return f"{GITHUB}{self.reference}" if "/" in self.reference else ""


MECHANISMS: tuple[Mechanism, ...] = (
    Mechanism(
        1, "residual", "Residual attention (CSRA)", ("ResidualAttention",), "heads", "image",
        "Classifies an image with a spatial attention of its own for every class.",
        "Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
        "Zhu, Wu", 2021, "2108.02456", "Kevinz-code/CSRA", ("csra",),
    ),
    Mechanism(
        2, "external", "External attention", ("ExternalAttention",), "tokens", "token",
        "Attends to a small learned memory shared by all samples, linear in the tokens.",
        "Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
        "Guo, Liu, Mu, Hu", 2021, "2105.02358", "MenghaoGuo/EANet", ("eanet",),
    ),
    Mechanism(
        3, "dot-product", "Scaled dot-product attention", ("ScaledDotProductAttention",),
        "tokens", "token",
        "Every query gathers the values whose keys resemble it: the attention of the Transformer.",
        "Attention Is All You Need",
        "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin", 2017,
        "1706.03762", "pytorch/pytorch", ("sdpa", "multi-head", "mha", "self-attention"),
    ),
    Mechanism(
        4, "simplified", "Simplified scaled dot-product attention",
        ("SimplifiedScaledDotProductAttention",), "tokens", "token",
        "Dot-product attention without the projections of query, key and value.",
        "", "", 2021, "", "xmu-xiaoma666/External-Attention-pytorch", ("ssdpa",),
    ),
    Mechanism(
        5, "se", "Squeeze-and-excitation", ("SEAttention",), "gates", "image",
        "Weighs the channels by what the whole image holds.",
        "Squeeze-and-Excitation Networks", "Hu, Shen, Albanie, Sun, Wu", 2017, "1709.01507",
        "moskomule/senet.pytorch", ("senet",),
    ),
    Mechanism(
        6, "sk", "Selective kernel", ("SKAttention",), "branches", "image",
        "Chooses, channel by channel, between convolutions of several kernel sizes.",
        "Selective Kernel Networks", "Li, Wang, Hu, Yang", 2019, "1903.06586",
        "huggingface/pytorch-image-models", ("sknet",),
    ),
    Mechanism(
        7, "cbam", "CBAM", ("CBAM",), "gates", "image",
        "Weighs first the channels, then the positions, by pooled averages and maxima.",
        "CBAM: Convolutional Block Attention Module", "Woo, Park, Lee, Kweon", 2018, "1807.06521",
        "Jongchan/attention-module", ("convolutional block attention module",),
    ),
    Mechanism(
        8, "bam", "BAM", ("BAM",), "gates", "image",
        "Weighs every channel at every position, by a channel and a dilated spatial branch.",
        "BAM: Bottleneck Attention Module", "Park, Woo, Lee, Kweon", 2018, "1807.06514",
        "Jongchan/attention-module", ("bottleneck attention module",),
    ),
    Mechanism(
        9, "eca", "ECA", ("ECAAttention",), "gates", "image",
        "Weighs each channel by a handful of its neighbours, with a few weights in all.",
        "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
        "Wang, Wu, Zhu, Li, Zuo, Hu", 2019, "1910.03151", "BangguWu/ECANet",
        ("eca-net", "efficient channel attention"),
    ),
    Mechanism(
        10, "dual", "Dual attention (DANet)",
        ("DualAttention", "PositionAttention", "ChannelSelfAttention"), "maps", "image",
        "Adds self-attention between all positions to self-attention between all channels.",
        "Dual Attention Network for Scene Segmentation", "Fu, Liu, Tian, Li, Bao, Fang, Lu", 2018,
        "1809.02983", "junfu1115/DANet", ("danet", "pam", "cam"),
    ),
    Mechanism(
        11, "pyramid-squeeze", "Pyramid squeeze attention (EPSA)", ("PyramidSqueezeAttention",),
        "branches", "image",
        "Lets the channel weights of four convolutions of growing size compete.",
        "EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional Neural Network",
        "Zhang, Zu, Lu, Zou, Meng", 2021, "2105.14447", "murufeng/EPSANet", ("psa", "epsanet"),
    ),
    Mechanism(
        12, "emsa", "Efficient multi-head self-attention (ResT)",
        ("EfficientMultiHeadSelfAttention",), "tokens", "image or token",
        "Dot-product attention over a down-sampled memory, with heads that exchange their scores.",
        "ResT: An Efficient Transformer for Visual Recognition", "Zhang, Yang", 2021, "2105.13677",
        "wofmanaf/ResT", ("rest", "efficient multi-head self-attention"),
    ),
    Mechanism(
        13, "shuffle", "Shuffle attention (SA-Net)", ("ShuffleAttention",), "gates", "image",
        "Gates half of each channel group by its average, half by its normalised pixels.",
        "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", "Zhang, Yang", 2021,
        "2102.00240", "wofmanaf/SA-Net", ("sa-net", "sanet"),
    ),
    Mechanism(
        14, "muse", "MUSE", ("MUSEAttention",), "tokens", "token",
        "Self-attention beside dynamic convolutions over tokens, which share its values.",
        "MUSE: Parallel Multi-Scale Attention for Sequence to Sequence Learning",
        "Zhao, Sun, Xu, Zhang, Luo", 2019, "1911.09483", "lancopku/MUSE",
        ("parallel multi-scale attention",),
    ),
    Mechanism(
        15, "sge", "Spatial group-wise enhance", ("SpatialGroupEnhance",), "gates", "image",
        "Weighs the positions of each channel group by their likeness to the group's average.",
        "Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
        "Li, Hu, Yang", 2019, "1905.09646", "implus/PytorchInsight", ("spatial group enhance",),
    ),
    Mechanism(
        16, "double", "Double attention (A2-Net)", ("DoubleAttention",), "maps", "image",
        "Gathers the image into a few global features, then hands them out to every position.",
        "A2-Nets: Double Attention Networks", "Chen, Kalantidis, Li, Yan, Feng", 2018,
        "1810.11579", "equations 2 to 4 of the paper", ("a2", "a2-net"),
    ),
    Mechanism(
        17, "aft", "Attention free transformer",
        ("AFTFull", "AFTLocal", "AFTSimple", "AFTConv"), "tokens", "token",
        "Averages the values, weighed per channel by keys and by learned position biases.",
        "An Attention Free Transformer",
        "Zhai, Talbott, Srivastava, Huang, Goh, Zhang, Susskind", 2021, "2105.14103",
        "equations 2, 3, 5 and 6 of the paper", ("aft-full", "attention free transformer"),
    ),
    Mechanism(
        18, "outlook", "Outlook attention (VOLO)", ("OutlookAttention",), "windows", "image",
        "Every position predicts, from itself alone, how its neighbourhood is to be mixed.",
        "VOLO: Vision Outlooker for Visual Recognition", "Yuan, Hou, Jiang, Feng, Yan", 2021,
        "2106.13112", "sail-sg/volo", ("volo", "outlooker"),
    ),
    Mechanism(
        19, "vip", "Weighted permute MLP (ViP)", ("WeightedPermuteMLP",), "mixers", "image",
        "Mixes along height, width and channels by linear maps, and weighs the three.",
        "Vision Permutator: A Permutable MLP-Like Architecture for Visual Recognition",
        "Hou, Jiang, Yuan, Cheng, Yan, Feng", 2021, "2106.12368", "houqb/VisionPermutator",
        ("vision permutator", "permute-mlp"),
    ),
    Mechanism(
        20, "coatnet", "Relative self-attention and MBConv (CoAtNet)",
        ("RelativeSelfAttention", "MBConv"), "maps", "image",
        "Self-attention over all positions with a learned bias for every offset between two.",
        "CoAtNet: Marrying Convolution and Attention for All Data Sizes", "Dai, Liu, Le, Tan",
        2021, "2106.04803", "huggingface/pytorch-image-models", ("relative attention", "mbconv"),
    ),
    Mechanism(
        21, "halo", "Halo attention", ("HaloAttention",), "windows", "image",
        "Every block of the image attends to itself and to a halo around it.",
        "Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
        "Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens", 2021, "2103.12731",
        "huggingface/pytorch-image-models", ("halonet",),
    ),
    Mechanism(
        22, "polarized", "Polarized self-attention",
        ("ParallelPolarizedSelfAttention", "SequentialPolarizedSelfAttention"), "gates", "image",
        "Gates channels and positions, each at full resolution of its own axis.",
        "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
        "Liu, Liu, Fan, Huang", 2021, "2107.00782", "DeLightCMU/PSA", ("psa-p", "psa-s"),
    ),
    Mechanism(
        23, "cot", "Contextual transformer (CoT)", ("CoTAttention",), "windows", "image",
        "Mixes a convolution's static context with a local attention that is computed from it.",
        "Contextual Transformer Networks for Visual Recognition", "Li, Yao, Pan, Mei", 2021,
        "2107.12292", "JDAI-CV/CoTNet", ("cotnet", "contextual transformer"),
    ),
    Mechanism(
        24, "s2", "Spatial-shift attention (S2-MLPv2)", ("S2Attention",), "mixers", "image",
        "Shifts channel groups by one pixel in four directions, then weighs the versions.",
        "S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision", "Yu, Li, Cai, Sun, Li",
        2021, "2108.01072", "equations of the paper", ("s2-mlp", "s2-mlpv2", "spatial shift"),
    ),
    Mechanism(
        25, "global-filter", "Global filter (GFNet)", ("GlobalFilter",), "mixers", "image",
        "Multiplies the image's spectrum by a learned filter: a convolution as large as the image.",
        "Global Filter Networks for Image Classification", "Rao, Zhao, Zhu, Lu, Zhou", 2021,
        "2107.00645", "raoyongming/GFNet", ("gfnet", "gf"),
    ),
    Mechanism(
        26, "triplet", "Triplet attention", ("TripletAttention",), "gates", "image",
        "Gates the image along each pair of its three axes, and averages the three results.",
        "Rotate to Attend: Convolutional Triplet Attention Module",
        "Misra, Nalamada, Arasanipalai, Hou", 2020, "2010.03045",
        "landskape-ai/triplet-attention", (),
    ),
    Mechanism(
        27, "coordinate", "Coordinate attention", ("CoordinateAttention",), "gates", "image",
        "Gates each row and each column by what lies along it.",
        "Coordinate Attention for Efficient Mobile Network Design", "Hou, Zhou, Feng", 2021,
        "2103.02907", "houqb/CoordAttention", ("coordatt", "ca"),
    ),
    Mechanism(
        28, "mobilevit", "MobileViT block", ("MobileViTBlock",), "blocks", "image",
        "Convolutions around a transformer over the pixels that share a place in their patch.",
        "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision Transformer",
        "Mehta, Rastegari", 2021, "2110.02178", "apple/ml-cvnets", ("mobilevit attention",),
    ),
    Mechanism(
        29, "parnet", "ParNet attention", ("ParNetAttention",), "branches", "image",
        "Adds a 3x3 convolution, a 1x1 convolution and a gated skip; fuses for inference.",
        "Non-deep Networks", "Goyal, Bochkovskiy, Deng, Koltun", 2021, "2110.07641",
        "imankgoyal/NonDeepNetworks", ("non-deep networks", "sse"),
    ),
    Mechanism(
        30, "ufo", "UFO attention", ("UFOAttention",), "tokens", "token",
        "Replaces the softmax by a norm, so that attention is linear in the tokens.",
        "UFO-ViT: High Performance Linear Vision Transformer without Softmax", "Song", 2021,
        "2109.14382", "equations of the paper", ("ufo-vit",),
    ),
    Mechanism(
        31, "mobilevit2", "Separable self-attention (MobileViTv2)",
        ("SeparableSelfAttention", "MobileViTv2Block"), "tokens", "image or token",
        "Weighs the tokens by one score each into a context vector: linear and light.",
        "Separable Self-attention for Mobile Vision Transformers", "Mehta, Rastegari", 2022,
        "2206.02680", "apple/ml-cvnets", ("mobilevitv2", "linear self-attention"),
    ),
)  # fmt: skip


def find(name: str) -> Mechanism | None:
    """Return the mechanism that goes by `name`, or `None`: key, layer class or alias, any case."""
    wanted = name.casefold()
    for mechanism in MECHANISMS:
        names = (mechanism.key, mechanism.name, *mechanism.layers, *mechanism.aliases)
        if wanted in (known.casefold() for known in names):
            return mechanism
    return None


def get(name: str) -> Mechanism:
    """Return the mechanism that goes by `name`, or raise a ValueError with the nearest names."""
    mechanism = find(name)
    if mechanism is None:
        known = [n for m in MECHANISMS for n in (m.key, *m.aliases, *m.layers)]
        nearest = get_close_matches(name.casefold(), known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "See the README's table."
        raise ValueError(f"there is no mechanism {name!r}. {hint}")
    return mechanism
