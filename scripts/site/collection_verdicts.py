"""What the layers of the External-Attention collections compute, compared with the authors' code.

Each layer that runs was run with the same weights as the reference.
"""

DEEPER = (
    "has three hidden layers, where the authors' code has one; has three convolutions dilated by "
    "2, where the authors' code has two dilated by 4; adds the branches as in the paper, where the "
    "released code multiplies them"
)
NO_GAMMA = "both branches scale the attention scores and have an output projection, but no gamma"
SPLIT = (
    "splits the input between the branches, where in the authors' code each branch convolves the "
    "whole input"
)
STATIC = "uses static convolutions instead of dynamic ones"

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
    "BAMBlock": ("no", DEEPER),
    "ECAAttention": ("yes", "has one additional weight, a bias"),
    "DAModule": ("no", f"{NO_GAMMA}; the channel branch {MIXED}"),
    "PSA": ("no", f"applies the softmax over the channels, not over the branches; {SPLIT}"),
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
        f"{STATIC}; drops the whole attention in training, and never trains the weights of its "
        "branches",
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
    "ResidualAttention": TENSORFLOW["ResidualAttention"],
    "ExternalAttention": (
        "yes",
        "is the reference for one head, and cannot have several; gives NaN where the sum over the "
        "slots underflows",
    ),
    "ScaledDotProductAttention": (
        "yes",
        "gives NaN where a query may attend to no key; a mask is True where a query may not attend",
    ),
    "SimplifiedScaledDotProductAttention": (
        "yes",
        "is the reference itself; gives NaN where a query may attend to no key; a mask is True "
        "where a query may not attend",
    ),
    "SEAttention": ("yes", ""),
    "SKAttention": TENSORFLOW["SKAttention"],
    "CBAMBlock": (
        "no",
        "adds its input to its output; has no batch normalization in the spatial gate, and no "
        "biases in the channel gate",
    ),
    "BAMBlock": (
        "no",
        f"{DEEPER}; pads these convolutions too little, so that only images of 7 x 7 run, and "
        "their spatial branch gives one number for the whole image",
    ),
    "ECAAttention": TENSORFLOW["ECAAttention"],
    "DAModule": (
        "no",
        f"{NO_GAMMA}, and do not add the input; only images of 7 x 7 with 512 channels run, "
        "whatever its arguments",
    ),
    "PSA": (
        "no",
        f"{SPLIT}; has its convolutions in Python lists, so that they are neither trained nor "
        "saved; overwrites its input; the gradient raises an error",
    ),
    "EMSA": (
        "yes",
        "applies a mask after the softmax, so that the output is not finite; needs the size of the "
        "image in its constructor",
    ),
    "ShuffleAttention": ("yes", ""),
    "MUSEAttention": (
        "no",
        f"{STATIC}; replaces the weights of its branches by their softmax at each call, and never "
        "trains them",
    ),
    "SpatialGroupEnhance": (
        "yes",
        "initializes the bias to 0, where the authors' code initializes it to 1",
    ),
    "DoubleAttention": ("no", "applies both softmaxes over the images of a batch"),
    "AFT_FULL": ("yes", "needs exactly `n` tokens; overflows for large keys"),
    "OutlookAttention": (
        "in part",
        "exchanges padding, dilation and stride, so that it only runs with kernel size 3 and "
        "stride 1",
    ),
    "WeightedPermuteMLP": (
        "in part",
        "exchanges the weights of the branches for the height and for the channels; always has "
        "dropout in the network that computes these weights",
    ),
    "CoAtNet": (
        "no",
        "its attention has no relative positions, no norm and no shortcut; each stage has one "
        "block; the last two stages pool along the rows alone, and so mix rows with columns",
    ),
    "HaloAttention": (
        "no",
        "its mask is inverted: a block at the border attends only to the padding, and a block "
        "inside averages all values",
    ),
    "ParallelPolarizedSelfAttention": (
        "no",
        "has biases, and a layer norm in the channel gate; applies the softmax of the spatial gate "
        "over the channels of the query, as in the paper, where the released code applies it over "
        "the positions of the product",
    ),
    "SequentialPolarizedSelfAttention": (
        "no",
        "has biases, and a linear map and a layer norm in the channel gate, where the released "
        "code has a bottleneck; applies the softmax of the spatial gate over the channels of the "
        "query, as in the paper, where the released code applies it over the positions of the "
        "values",
    ),
    "CoTAttention": (
        "no",
        "has no local kernels: averages them, and applies a softmax over all positions; adds the "
        "two contexts without weights",
    ),
    "S2Attention": (
        "no",
        "shifts in place, which copies the first row over the whole image in one quarter of the "
        "channels, and the first column in another; runs only with 512 channels",
    ),
    "GFNet": (
        "in part",
        "its `GlobalFilter` computes the same; the network has no position embedding and no final "
        "norm, and returns probabilities instead of logits",
    ),
    "TripletAttention": ("yes", ""),
    "CoordAtt": ("yes", ""),
    "MobileViTAttention": (
        "no",
        "has no batch normalization and no silu after the convolutions, no norm after the "
        "transformer, and no biases of queries, keys and values; the patches must divide the image",
    ),
    "ParNetAttention": ("no", "has no batch normalization in the skip connection"),
    "UFOAttention": (
        "no",
        "normalizes the rows of K^T V, where the paper's formula normalizes the columns; never "
        "applies its dropout",
    ),
    "MobileViTv2Attention": ("no", "has no relu of the values"),
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
"""The same, with the mechanisms that only the collection for PyTorch has."""
