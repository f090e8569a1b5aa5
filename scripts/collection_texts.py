"""What the layers of External-Attention-tensorflow compute, beside the authors' code.

Found by running them, where they run, with the same weights as the reference.
"""

MIXED = "reads channels-last images as if the channels came first, which mixes channels with pixels"
EMPTY = ("no", "a class without a body, or none at all")

DIFFERENCES = {
    "ResidualAttention": (
        "in part",
        "knows one head of infinite temperature alone; does not divide the scores by the norms of "
        "the classifier",
    ),
    "ExternalAttention": ("yes", ""),
    "ScaledDotProductAttention": (
        "in part",
        "splits the heads by `d_model` whatever `d_k` is, so that another `d_k` raises an error or "
        "mixes tokens; multiplies the scores by the mask",
    ),
    "SimplifiedScaledDotProductAttention": ("yes", "but a mask raises an error"),
    "SEAttention": ("yes", ""),
    "SKAttention": (
        "no",
        "has no batch normalization and relu between the pooled channels and the branches' weights",
    ),
    "CBAMBlock": (
        "no",
        "adds its input to its output; has no batch normalization in the gate of the positions",
    ),
    "BAMBlock": (
        "no",
        "has three hidden layers, and three convolutions dilated by 2, where the authors have one, "
        "and two dilated by 4; adds the branches, as the paper says, where the released code "
        "multiplies them",
    ),
    "ECAAttention": ("yes", "with one weight more, a bias"),
    "DAModule": (
        "no",
        "has scaled attention with an output map in both branches and no gamma; its channel "
        f"branch {MIXED}",
    ),
    "PSA": (
        "no",
        "takes the softmax over the channels, not over the branches; splits the input between the "
        "branches, where the authors let each convolve all of it",
    ),
    "EMSA": (
        "no",
        "its constructor raises an error; the code behind it has batch statistics for the instance "
        "norm and a padding that shifts the image",
    ),
    "ShuffleAttention": ("no", f"needs the discontinued tensorflow_addons; with it, {MIXED}"),
    "MUSEAttention": (
        "no",
        "has static convolutions in the place of dynamic ones; drops all of the attention in "
        "training, and never trains the weights of its branches",
    ),
    "SpatialGroupEnhance": (
        "no",
        f"{MIXED}; divides the variance by N, where the authors do by N - 1",
    ),
    "DoubleAttention": (
        "no",
        f"takes the attention's softmax over the maps, not over the positions; {MIXED}",
    ),
    "AFT_FULL": (
        "in part",
        "never trains its position biases, and loses them when it is saved; overflows at large "
        "keys",
    ),
    "OutlookAttention": ("no", "its constructor raises an error; it never adds up the windows"),
    "WeightedPermuteMLP": (
        "no",
        "its branch for the width mixes the height once more, and nothing mixes the width",
    ),
    "CoAtNet": EMPTY,
    "HaloAttention": EMPTY,
    "ParallelPolarizedSelfAttention": EMPTY,
    "SequentialPolarizedSelfAttention": EMPTY,
    "CoTAttention": EMPTY,
    "S2Attention": EMPTY,
    "GFNet": EMPTY,
    "TripletAttention": EMPTY,
    "CoordAtt": EMPTY,
    "MobileViTAttention": EMPTY,
    "ParNetAttention": EMPTY,
    "UFOAttention": EMPTY,
    "MobileViTv2Attention": EMPTY,
}
"""By the old name: whether it computes what the authors' code does, and what it does otherwise."""
