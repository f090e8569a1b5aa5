"""What every worker trains: a small CoAtNet with attention gates, on images made from a seed."""

import keras
import numpy as np
from attn_core import CBAM, SEAttention
from attn_core.models import CoAtNet

BATCH = 16
STEPS = 6
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(frozen: bool = False) -> keras.Model:
    """Return the network: two of the stages' feature maps, behind a gate each, and a classifier.

    All layers have names, so that the weights have the same paths whenever it is built.

    Args:
        frozen: Whether batch normalization uses its stored statistics instead of the batch's, which
            are those of a share of the batch wherever each device looks at its own share alone.
    """
    keras.utils.set_random_seed(1)
    backbone = CoAtNet(
        (8, 8, 16, 16), depths=1, stem_width=8, key_dim=4, image_size=32, include_top=False
    )
    _, fine, _, coarse = backbone.feature_maps().outputs
    maps = [CBAM(2, kernel_size=3, name="cbam")(fine), SEAttention(2, name="se")(coarse)]
    pooled = [keras.layers.GlobalAveragePooling2D(name=f"pool_{i}")(x) for i, x in enumerate(maps)]
    x = keras.layers.Concatenate(name="concatenate")(pooled)
    model = keras.Model(backbone.inputs, keras.layers.Dense(3, name="head")(x))
    for layer in model._flatten_layers():
        if frozen and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def optimizer() -> keras.optimizers.Optimizer:
    """Return gradient descent with momentum: unlike Adam's, its steps do not grow from rounding."""
    return keras.optimizers.SGD(0.05, momentum=0.9)


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the images and labels of each step."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((STEPS, BATCH, 32, 32, 3)).astype("float32")
    return list(zip(x, rng.integers(0, 3, (STEPS, BATCH)), strict=True))


def fit(model: keras.Model, share=slice(None)) -> list[float]:
    """Train with `fit`, one epoch a batch, on a share of each batch; return the losses."""
    model.compile(optimizer(), LOSS)
    losses = []
    for x, y in batches():
        history = model.fit(x[share], y[share], batch_size=BATCH, shuffle=False, verbose=0)
        losses += history.history["loss"]
    return losses


def weights(model: keras.Model) -> dict[str, list]:
    """Return the weights by path, to be sent as JSON."""
    arrays = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    return {path: array.ravel().tolist() for path, array in arrays.items()}
