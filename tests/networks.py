"""The networks under test: tiny configurations, and the authors' numbers of parameters."""

TINY = {
    "CoAtNet": {
        "embed_dim": (8, 8, 16, 16),
        "depths": 1,
        "stem_width": 8,
        "key_dim": 8,
        "image_size": 64,
    },
    "GFNet": {"embed_dim": 16, "depths": 2, "patch_size": 8, "image_size": 64},
    "GFNetPyramid": {"embed_dim": (8, 8, 16, 16), "depths": 1, "image_size": 64},
}
"""Arguments of one small network of each class, for images of 64 x 64 pixels."""

PARAMETERS = {
    # The papers' variants as timm 1.0 builds them (`coatnet_0_224` to `coatnet_5_224`), trainable
    # parameters counted there.
    "CoAtNet": {
        "coatnet_0": 25_036_820,
        "coatnet_1": 42_225_776,
        "coatnet_2": 74_684_744,
        "coatnet_3": 166_966_264,
        "coatnet_4": 275_425_288,
        "coatnet_5": 687_472_008,
    },
    # raoyongming/GFNet: the classes of `gfnet.py` with the arguments of `main_gfnet.py`, parameters
    # counted there.
    "GFNet": {
        "gfnet_ti": 7_511_784,
        "gfnet_xs": 15_985_768,
        "gfnet_s": 24_869_608,
        "gfnet_b": 43_120_616,
    },
    "GFNetPyramid": {
        "gfnet_h_ti": 15_085_096,
        "gfnet_h_s": 32_162_632,
        "gfnet_h_b": 53_744_200,
    },
}
"""Trainable parameters of each published variant, by class, and where each figure comes from."""
