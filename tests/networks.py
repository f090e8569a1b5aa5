"""The networks under test: tiny configurations, and the authors' numbers of parameters."""

TINY = {
    "AttentionResNet": {
        "attention": ("se", "sk", "epsa", "bam"),
        "attention_options": (
            {"reduction": 4},
            {"branch_groups": (1, 2), "reduction": 4},
            {"groups": (1, 2, 2, 4), "reduction": 2},
            None,
        ),
        "depths": (1, 1, 2, 1),
        "filters": (8, 8, 16, 16),
        "stem_width": 8,
    },
    "CoAtNet": {
        "embed_dim": (8, 8, 16, 16),
        "depths": 1,
        "stem_width": 8,
        "key_dim": 8,
        "image_size": 64,
    },
    "CoTNet": {"depths": (1, 1, 2, 1), "filters": (8, 8, 16, 16), "stem_width": 8},
    "GFNet": {"embed_dim": 16, "depths": 2, "patch_size": 8, "image_size": 64},
    "GFNetPyramid": {"embed_dim": (8, 8, 16, 16), "depths": 1, "image_size": 64},
    "HaloNet": {
        "depths": (1, 1, 2, 2),
        "block_types": ("C", "C", "CT", "TC"),
        "filters": (8, 8, 16, 16),
        "stem_widths": (4, 4, 8),
        "block_size": 2,
        "num_heads": 2,
    },
    "MobileViT": {"embed_dim": (8, 12, 16), "depths": 1, "filters": (16, 8, 8, 12, 16)},
    "MobileViTv2": {"embed_dim": (8, 12, 16), "depths": 1, "filters": (16, 8, 8, 12, 16)},
    "NAT": {
        "embed_dim": (4, 8, 16, 16),
        "depths": (1, 1, 2, 1),
        "num_heads": (1, 2, 4, 4),
        "kernel_size": 3,
        "layer_scale": 0.5,
    },
    "ParNet": {"filters": (8, 12, 16, 24), "depths": (1, 2, 1)},
    "ResNeSt": {"depths": (1, 1, 2, 1), "filters": (8, 8, 16, 16), "stem_width": 4},
    "ResT": {"embed_dim": (8, 16, 24, 32), "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 4)},
    "Swin": {
        "embed_dim": (8, 8, 16, 16),
        "depths": (2, 1, 2, 1),
        "num_heads": 2,
        "window_size": 4,
        "image_size": 64,
    },
    "VAN": {"embed_dim": (8, 8, 16, 16), "depths": (1, 1, 2, 1), "mlp_ratio": (4, 2, 2, 2)},
    "VOLO": {
        "embed_dim": (8, 16),
        "depths": 1,
        "num_heads": (2, 4),
        "patch_size": 4,
        "stem_width": 8,
        "image_size": 64,
    },
    "VisionPermutator": {
        "embed_dim": (8, 16),
        "depths": 1,
        "segment_dim": 4,
        "downsample": (True, False),
        "patch_size": 8,
        "image_size": 64,
    },
}
"""Arguments of one small network of each class, for images of 64 x 64 pixels."""

RESIZED = {"CoAtNet": 96, "GFNet": 96, "GFNetPyramid": 96, "Swin": 128}
"""Another side of the images, for each of these networks that can be resized."""

PARAMETERS = {
    # timm 1.0 (`resnet50`, `seresnet50`, ...) and implus/PytorchInsight (SE, SGE, SK),
    # BangguWu/ECANet with the kernel sizes 3, 5, 5, 7 and 3, 3, 5, 7 of its README,
    # Jongchan/attention-module (BAM, CBAM), wofmanaf/SA-Net, landskape-ai/triplet-attention,
    # murufeng/EPSANet, and the backbone of xvjiarui/GCNet with a classifier of 1000 classes.
    "AttentionResNet": {
        "resnet_50": 25_557_032,
        "se_resnet_50": 28_088_024,
        "eca_resnet_50": 25_557_112,
        "cbam_resnet_50": 28_089_624,
        "sk_resnet_50": 26_154_496,
        "sge_resnet_50": 25_559_080,
        "sa_resnet_50": 25_557_740,
        "triplet_resnet_50": 25_561_832,
        "bam_resnet_50": 25_915_099,
        "gc_resnet_50": 28_078_773,
        "epsanet_50": 22_561_715,
        "resnet_101": 44_549_160,
        "se_resnet_101": 49_326_872,
        "eca_resnet_101": 44_549_317,
        "cbam_resnet_101": 49_330_172,
        "sk_resnet_101": 45_678_112,
        "sge_resnet_101": 44_553_384,
        "sa_resnet_101": 44_550_684,
        "triplet_resnet_101": 44_559_060,
        "bam_resnet_101": 44_907_227,
        "gc_resnet_101": 49_337_222,
        "epsanet_101": 38_900_279,
    },
    # The papers' variants as timm 1.0 builds them (`coatnet_0_224` to `coatnet_5_224`), and timm's.
    "CoAtNet": {
        "coatnet_0": 25_036_820,
        "coatnet_1": 42_225_776,
        "coatnet_2": 74_684_744,
        "coatnet_3": 166_966_264,
        "coatnet_4": 275_425_288,
        "coatnet_5": 687_472_008,
        "coatnet_nano_rw_224": 15_141_244,
        "coatnet_0_rw_224": 27_435_562,
        "coatnet_1_rw_224": 41_721_502,
        "coatnet_2_rw_224": 73_868_400,
        "coatnet_3_rw_224": 181_805_305,
        "coatnet_bn_0_rw_224": 27_435_562,
        "coatnet_rmlp_nano_rw_224": 15_145_116,
        "coatnet_rmlp_0_rw_224": 27_446_074,
        "coatnet_rmlp_1_rw_224": 41_691_982,
        "coatnet_rmlp_1_rw2_224": 41_724_622,
        "coatnet_rmlp_2_rw_224": 73_881_264,
        "coatnet_rmlp_2_rw_384": 73_881_264,
    },
    # JDAI-CV/CoTNet `models/cotnet.py` with `models/resnet.py`.
    "CoTNet": {"cotnet_50": 22_222_416, "cotnet_101": 38_272_048},
    # raoyongming/GFNet: the classes of `gfnet.py` with the arguments of `main_gfnet.py`.
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
    # timm 1.0 (`halonet26t`, `halonet_h1`).
    "HaloNet": {"halonet_26t": 12_480_288, "halonet_h1": 8_100_056},
    # apple/ml-cvnets: the modules of `MobileViT` and `MobileViTv2` with their `get_configuration`;
    # timm 1.0 (`mobilevit_*`, `mobilevitv2_*`) has the same.
    "MobileViT": {
        "mobilevit_xxs": 1_272_024,
        "mobilevit_xs": 2_317_848,
        "mobilevit_s": 5_578_632,
    },
    "MobileViTv2": {
        "mobilevitv2_050": 1_370_593,
        "mobilevitv2_075": 2_866_009,
        "mobilevitv2_100": 4_901_841,
        "mobilevitv2_125": 7_478_089,
        "mobilevitv2_150": 10_594_753,
        "mobilevitv2_175": 14_251_833,
        "mobilevitv2_200": 18_449_329,
    },
    # SHI-Labs/Neighborhood-Attention-Transformer `classification/nat.py`.
    "NAT": {
        "nat_mini": 19_984_174,
        "nat_tiny": 27_901_582,
        "nat_small": 50_743_297,
        "nat_base": 89_769_652,
    },
    # imankgoyal/NonDeepNetworks, folder imagenet: timm/models/simplenet_impl/simpnet.py with the
    # files of models/ that train_models.sh names.
    "ParNet": {
        "parnet_s": 20_930_936,
        "parnet_m": 38_953_256,
        "parnet_l": 60_180_008,
        "parnet_xl": 93_176_168,
    },
    # zhanghang1989/ResNeSt `resnest50` to `resnest269`; timm 1.0 has the same.
    "ResNeSt": {
        "resnest_50": 27_483_240,
        "resnest_101": 48_275_016,
        "resnest_200": 70_201_544,
        "resnest_269": 110_929_480,
    },
    # wofmanaf/ResT `models/rest.py`.
    "ResT": {
        "rest_lite": 10_508_300,
        "rest_small": 13_679_708,
        "rest_base": 30_327_052,
        "rest_large": 51_676_156,
    },
    # microsoft/Swin-Transformer `models/swin_transformer.py` with the files of configs/swin; timm
    # 1.0 (`swin_tiny_patch4_window7_224` to `swin_base_patch4_window7_224`) has the same.
    "Swin": {"swin_t": 28_288_354, "swin_s": 49_606_258, "swin_b": 87_768_224},
    # Visual-Attention-Network/VAN-Classification `models/van.py`.
    "VAN": {
        "van_b0": 4_105_800,
        "van_b1": 13_861_800,
        "van_b2": 26_578_472,
        "van_b3": 44_765_608,
    },
    # sail-sg/volo `models/volo.py`, as timm 1.0 has it (`volo_d1_224` to `volo_d5_224`).
    "VOLO": {
        "volo_d1": 26_632_040,
        "volo_d2": 58_678_336,
        "volo_d3": 86_325_072,
        "volo_d4": 192_961_520,
        "volo_d5": 295_455_584,
    },
    # houqb/VisionPermutator `models/vip.py` (a comment in it gives M7
    # 55,534,632, which its code does not have).
    "VisionPermutator": {
        "vip_s14": 29_892_904,
        "vip_s7": 25_114_984,
        "vip_m7": 55_272_488,
        "vip_l7": 87_784_936,
    },
}
"""Trainable parameters of each published variant, by class.

Each figure was counted in PyTorch, in a network built of the constructors that the comment names.
"""
