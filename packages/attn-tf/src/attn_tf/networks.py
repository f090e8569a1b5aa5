"""GFNet and its pyramid with TensorFlow's FFTs; only the filter differs from attn_core's."""

from typing import ClassVar

import keras
from attn_core import models
from attn_core.models import _gfnet

from attn_tf.filters import GlobalFilter


@keras.saving.register_keras_serializable(package="attn_tf")
class GFNetBlock(_gfnet.GFNetBlock):
    """The block of `attn_core.models.GFNet` with the filter of this package."""

    filter_class: ClassVar[type[GlobalFilter]] = GlobalFilter


@keras.saving.register_keras_serializable(package="attn_tf")
class GFNet(models.GFNet):
    """`attn_core.models.GFNet` with `attn_tf.GlobalFilter`: same arguments, variants and weights.

    Example:
        >>> import numpy as np
        >>> model = GFNet(16, depths=1, patch_size=4, image_size=16, num_classes=10)
        >>> tuple(model(np.ones((2, 16, 16, 3))).shape)
        (2, 10)
    """

    block_class: ClassVar[type[GFNetBlock]] = GFNetBlock


@keras.saving.register_keras_serializable(package="attn_tf")
class GFNetPyramid(models.GFNetPyramid):
    """`attn_core.models.GFNetPyramid` with `attn_tf.GlobalFilter`: same arguments and weights.

    Example:
        >>> import numpy as np
        >>> model = GFNetPyramid((8, 8, 8, 8), depths=1, image_size=64, num_classes=10)
        >>> tuple(model(np.ones((2, 64, 64, 3))).shape)
        (2, 10)
    """

    block_class: ClassVar[type[GFNetBlock]] = GFNetBlock
