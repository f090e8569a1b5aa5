"""What the layers of the External-Attention collections compute, compared with the authors' code.

Each layer that runs was run with the same weights as the reference.
"""

MIXED = "treats channels-last images as channels-first, so that channels and pixels are mixed"
EMPTY = ("no", "the class is empty, or does not exist")

TENSORFLOW = {
    "ResidualAttention": (
        "in part",
        "supports only one head of infinite temperature; does not divide the scores by the norms "
        "of the classifier's weights",
    ),
    "ExternalAttention": ("yes", ""),
    "ScaledDotProductAttention": (
        "in part",
        "always computes the size of a head from `d_model` and ignores `d_k`, so that another "
        "`d_k` raises an error or mixes tokens; multiplies the scores by the mask",
    ),
    "SimplifiedScaledDotProductAttention": ("yes", "a mask raises an error"),
    "SEAttention": ("yes", ""),
    "SKAttention": (
        "no",
        "has no batch normalization and no relu between the pooled channels and the weights of the "
        "branches",
    ),
    "CBAMBlock": (
        "no",
        "adds its input to its output; has no batch normalization in the spatial gate",
    ),
    "BAMBlock": (
        "no",
        "has three hidden layers, where the authors' code has one; has three convolutions dilated "
        "by 2, where the authors' code has two dilated by 4; adds the branches as in the paper, "
        "where the released code multiplies them",
    ),
    "ECAAttention": ("yes", "has one additional weight, a bias"),
    "DAModule": (
        "no",
        "both branches scale the attention scores and have an output projection, but no gamma; "
        f"the channel branch {MIXED}",
    ),
    "PSA": (
        "no",
        "applies the softmax over the channels, not over the branches; splits the input between "
        "the branches, where in the authors' code each branch convolves the whole input",
    ),
    "EMSA": (
        "no",
        "the constructor raises an error; the rest of the code uses batch statistics for the "
        "instance norm, and a padding that shifts the image",
    ),
    "ShuffleAttention": (
        "no",
        f"needs the discontinued tensorflow_addons; with this library, it {MIXED}",
    ),
    "MUSEAttention": (
        "no",
        "uses static convolutions instead of dynamic ones; drops the whole attention in training, "
        "and never trains the weights of its branches",
    ),
    "SpatialGroupEnhance": (
        "no",
        f"{MIXED}; divides by N in the variance, where the authors' code divides by N - 1",
    ),
    "DoubleAttention": (
        "no",
        f"applies the softmax of the attention over the maps, not over the positions; {MIXED}",
    ),
    "AFT_FULL": (
        "in part",
        "never trains the position biases, and does not save them; overflows for large keys",
    ),
    "OutlookAttention": ("no", "the constructor raises an error; the code never sums the windows"),
    "WeightedPermuteMLP": (
        "no",
        "the branch for the width mixes the height again, so that the width is never mixed",
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
"""By the old name: whether it computes the same as the authors' code, and how it differs."""

PYTORCH = {
    "ACmix": ("yes", ""),
    "DAttentionBaseline": ("yes", "returns the positions of the points too"),
    "CrossFormerAttention": (
        "yes",
        "there its name is `Attention`, and its input is groups of positions, which the block "
        "around it cuts; at long distance one group spans the whole image, as in the first release",
    ),
    "CrissCrossAttention": ("yes", ""),
    "AxialAttention": ("yes", ""),
    "SimAM": ("yes", ""),
    "simam_module": ("yes", "has only the name `SimAM`"),
}
"""The same, for the mechanisms that only the collection for PyTorch has."""
