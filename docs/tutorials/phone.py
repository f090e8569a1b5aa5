# %% [markdown]
# # From notebook to phone
#
# LiteRT, the former TensorFlow Lite, runs networks on phones. You train a
# small network with attention, write it as a LiteRT file in three precisions,
# and run each file on the test images. So you see how many of its answers are
# right, and how large the file is.
#
# This tutorial needs TensorFlow: `pip install "attn-tf[export]"` and
# `pip install "attn-core[tensorflow,demo]"`.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import attn_tf
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from attn_core import CBAM
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

tf.get_logger().setLevel("ERROR")  # fewer messages

# %% [markdown]
# ## Train
#
# The images are the handwritten digits of scikit-learn, 8 x 8 pixels.

# %%
keras.utils.set_random_seed(0)
digits = load_digits()
images = (digits.images / 16).astype("float32")[..., None]
x_train, x_test, y_train, y_test = train_test_split(
    images, digits.target, random_state=0
)

inputs = x = keras.Input((8, 8, 1))
for filters in (32, 64):
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = CBAM(reduction=4)(x)
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(10)(x))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
model.fit(x_train, y_train, epochs=30, verbose=0)
right = 100 * model.evaluate(x_test, y_test, verbose=0)[1]
print(f"{model.count_params():,} parameters, {right:.1f} % right")

# %% [markdown]
# ## Write the files
#
# `attn_tf.export` writes the file, runs it, and reports the largest difference
# from the model. `quantize="dynamic"` stores the weights with 8 bits.
# `quantize="int8"` also computes with 8 bits, and needs typical images to see
# which numbers occur.

# %%
typical = [x_train[i : i + 1] for i in range(100)]
options = {
    "float32": {},
    "dynamic": {"quantize": "dynamic"},
    "int8": {"quantize": "int8", "representative_data": typical},
}
reports = {
    name: attn_tf.export(
        model, f"{name}.tflite", format="litert", verbose=False, **option
    )
    for name, option in options.items()
}

# %% [markdown]
# ## Run the files
#
# The runtime of the phone runs here too: `ai-edge-litert` loads the file
# without Keras, TensorFlow or attn-core. A phone loads the same file, on
# Android with the library `com.google.ai.edge.litert`. It takes and returns
# the same arrays.


# %%
def accuracy(path):
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    answers = []
    for image in x_test:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target)[0].argmax())
    return 100 * np.mean(answers == y_test)


found = {}
for name, report in reports.items():
    found[name] = accuracy(f"{name}.tflite")
    print(
        f"{name}: {report.size_bytes / 1024:5.1f} KiB, "
        f"largest difference {report.max_difference:.0e}, "
        f"{found[name]:.1f} % right"
    )

# %% [markdown]
# ## The result

# %%
print(
    f"The model names {right:.1f} % of the test images, its LiteRT file "
    f"{found['float32']:.1f} %, with 8 bits {found['int8']:.1f} %."
)

# %% [markdown]
# [Deploy](../deploy.md) has the other formats, and which layers can be
# exported from which backend. [TensorFlow extras](../tensorflow.md) describes
# `attn_tf.export`.
