"""Train on several devices with `keras.distribution`: the batch is divided among them.

The model does not change. This example simulates four devices on the CPU; on a machine with
accelerators, delete the lines with XLA_FLAGS and JAX_PLATFORMS. Keras supports this method on JAX.
For the same model, use `tf.distribute.MirroredStrategy` on TensorFlow and
`torch.nn.parallel.DistributedDataParallel` on PyTorch.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"  # set these three before Keras is imported
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

try:
    import jax  # noqa: F401
except ImportError:
    sys.exit('This example needs JAX: pip install "attn-core[jax,demo]"')

import keras
import numpy as np
from attn_core import CBAM, SEAttention
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUICK = "--quick" in sys.argv
keras.utils.set_random_seed(0)

devices = keras.distribution.list_devices()
print("Devices:", ", ".join(devices))
keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))

digits = load_digits()
images = (digits.images / 16).astype("float32")[..., None]
x_train, x_test, y_train, y_test = train_test_split(images, digits.target, random_state=0)

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        SEAttention(reduction=4),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        CBAM(reduction=4),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ]
)
model.compile(
    keras.optimizers.Adam(3e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
count = len(x_train) // 64 * 64  # only full batches: each is divided by four
model.fit(x_train[:count], y_train[:count], batch_size=64, epochs=1 if QUICK else 15, verbose=2)

weight = model.trainable_variables[0].value
print(f"Each weight is on {len(weight.sharding.device_set)} devices, a copy on each:", end=" ")
copies = [np.asarray(shard.data) for shard in weight.addressable_shards]
print("equal" if all(np.array_equal(copies[0], copy) for copy in copies) else "different")
test = len(x_test) // 64 * 64
_, accuracy = model.evaluate(x_test[:test], y_test[:test], batch_size=64, verbose=0)
print(f"Accuracy on unseen digits: {accuracy:.1%}")
