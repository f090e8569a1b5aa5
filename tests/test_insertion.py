"""Attention inserted into models: the places, the published parameters, training, files, errors."""

import math
from functools import cache

import keras
import numpy as np
import pytest
from attn_core import (
    ECAAttention,
    ExternalAttention,
    SEAttention,
    attention_maps,
    insert_attention,
)
from attn_core._tools.places import PLACES, trace
from keras import layers, ops
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

BACKEND = keras.config.backend()

# Number of layers at residual_branch, block, stage and head, as the papers and Keras' own names
# count: 3 + 4 + 6 + 3 bottlenecks, 17 and 11 inverted residuals, 16 MBConv, 58 dense layers, ...
COUNTS = {
    "ResNet50": (16, 16, 4, 1),
    "ResNet50V2": (16, 16, 4, 1),
    "MobileNetV2": (10, 17, 5, 1),
    "MobileNetV3Small": (6, 11, 4, 1),
    "EfficientNetB0": (9, 16, 5, 1),
    "DenseNet121": (0, 58, 4, 1),
    "ConvNeXtTiny": (18, 18, 4, 1),
    "VGG16": (0, 5, 5, 1),
}
LAST = {
    "ResNet50": ("conv5_block3_3_bn", "conv5_block3_out", "conv5_block3_out", "conv5_block3_out"),
    "ResNet50V2": ("conv5_block3_3_conv", "conv5_block3_out", "conv5_block3_out", "post_relu"),
    "MobileNetV2": (
        "block_15_project_BN",
        *("block_16_project_BN", "block_16_project_BN", "out_relu"),
    ),
    "MobileNetV3Small": (
        "expanded_conv_10_project_bn",
        *("expanded_conv_10_add", "expanded_conv_10_add", "activation_17"),
    ),
    "EfficientNetB0": (
        "block6d_project_bn",  # and not its dropout, block6d_drop
        *("block7a_project_bn", "block7a_project_bn", "top_activation"),
    ),
    "DenseNet121": (None, "conv5_block16_concat", "conv5_block16_concat", "relu"),
    "ConvNeXtTiny": ("convnext_tiny_stage_3_block_2_identity", "add_17", "add_17", "add_17"),
    "VGG16": (None, "block5_conv3", "block5_conv3", "block5_pool"),
}
INSERTED = {
    "residual_branch": [("se", {}), ("sge", {"groups": 8})],
    "block": [("eca", {}), ("shuffle", {"groups": 4})],
    "stage": [("outlook", {}), ("coordinate", {})],
    "head": [("cbam", {}), ("external", {})],
}
"""Two mechanisms for each place: every application gets one of them."""


@cache
def application(name):
    keras.utils.clear_session()  # the names of layers without one start over
    build = getattr(keras.applications, name)
    base = build(weights=None, input_shape=(64, 64, 3), include_top=False, pooling="avg")
    return keras.Model(base.input, layers.Dense(10, name="logits")(base.output), name=name)


def small(data_format="channels_last", dtype=None, size=(8, 8)):
    """A residual network of two blocks."""
    options = {"data_format": data_format, "padding": "same", "dtype": dtype}
    axis = -1 if data_format == "channels_last" else 1
    inputs = keras.Input((*size, 3) if axis == -1 else (3, *size), name="image")
    x = layers.Normalization(axis=axis, dtype=dtype, name="scale")(inputs)
    x = layers.Conv2D(8, 3, **options, name="stem")(x)
    for i, strides in enumerate((1, 2)):
        y = layers.Conv2D(8, 3, strides=strides, **options, name=f"conv_{i}_1")(x)
        y = layers.BatchNormalization(axis=axis, dtype=dtype, name=f"norm_{i}")(y)
        y = layers.Conv2D(8, 3, **options, name=f"conv_{i}_2")(y)
        if strides > 1:
            x = layers.Conv2D(8, 1, strides=strides, **options, name=f"shortcut_{i}")(x)
        x = layers.ReLU(dtype=dtype, name=f"out_{i}")(
            layers.Add(dtype=dtype, name=f"add_{i}")([x, y])
        )
    x = layers.GlobalAveragePooling2D(data_format=data_format, dtype=dtype, name="pool")(x)
    return keras.Model(inputs, layers.Dense(4, dtype=dtype, name="logits")(x), name="small")


def images(model, batch=2):
    shape = (batch, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def run(model, *arguments, **options):
    return ops.convert_to_numpy(model(*arguments, **options))


def added(before, after):
    count = [sum(math.prod(w.shape) for w in m.trainable_weights) for m in (before, after)]
    return count[1] - count[0]


def new_layers(before, after):
    names = {layer.name for layer in [*before.layers, after.layers[0]]}  # the first is the input
    return [layer.name for layer in after.layers if layer.name not in names]


def train_and_reload(model, path):
    x = images(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Gates upon untrained gates leave gradients that Adam's usual epsilon would swallow.
    optimizer = keras.optimizers.Adam(1e-4, epsilon=1e-18)
    model.compile(optimizer, loss, run_eagerly=BACKEND == "tensorflow")
    before = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    assert np.isfinite(model.train_on_batch(x, np.array([1, 2])))
    changed = [
        np.any(ops.convert_to_numpy(w) != b)
        for w, b in zip(model.trainable_weights, before, strict=True)
    ]
    assert np.mean(changed) > 0.5  # not all: behind a relu that is off no gradient passes
    model.save(path)
    reloaded = keras.saving.load_model(path)
    expected = run(model, x, training=False)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(run(reloaded, x, training=False), expected, rtol=1e-5, atol=1e-5)


# The places.


@pytest.mark.parametrize("name", COUNTS)
def test_places(name):
    calls = trace(application(name))
    found = [find(calls) for find in PLACES.values()]
    assert tuple(map(len, found)) == COUNTS[name]
    assert tuple(ends[-1].layer.name if ends else None for ends in found) == LAST[name]
    for ends in found[2:]:
        sizes = [call.size for call in ends]
        assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("size", [(8, 8), (None, None)])
def test_places_of_a_small_model(size):
    calls = trace(small(size=size))
    names = {place: [call.layer.name for call in find(calls)] for place, find in PLACES.items()}
    assert names == {
        "residual_branch": ["conv_0_2", "conv_1_2"],
        "block": ["out_0", "out_1"],
        "stage": ["out_0", "out_1"],
        "head": ["out_1"],
    }


def test_sizes():
    """Height and width where the channels come first too; the number of tokens."""
    sizes = {call.layer.name: call.size for call in trace(small("channels_first", size=(6, 10)))}
    assert sizes["stem"] == (6, 10)
    assert sizes["out_1"] == (3, 5)
    inputs = keras.Input((12, 4))
    (*_, call) = trace(keras.Model(inputs, layers.Conv1D(4, 3, padding="same")(inputs)))
    assert call.size == (12,)


def test_the_head_of_a_model_on_tokens():
    """Without a pooling, its output."""
    inputs = keras.Input((12, 4))
    x = layers.Dense(4, name="first")(inputs)
    x = layers.Dense(4, activation="relu", name="second")(x)  # features, and no predictions
    assert [call.layer.name for call in PLACES["head"](trace(keras.Model(inputs, x)))] == ["second"]


def test_places_of_operations():
    """Sums and activations that are no layers, as in `x + y`."""
    inputs = keras.Input((8, 8, 4))
    x = ops.relu(inputs + layers.Conv2D(4, 3, padding="same", name="branch")(inputs))
    calls = trace(keras.Model(inputs, x))
    assert [call.layer.name for call in PLACES["residual_branch"](calls)] == ["branch"]
    assert [call.kind for call in PLACES["block"](calls)] == ["Relu"]
    assert PLACES["head"](calls) == [calls[-1]]


def test_an_addition_that_broadcasts_is_no_residual_branch():
    inputs = keras.Input((8, 8, 4))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    model = keras.Model(inputs, inputs + layers.Conv2D(4, 1)(mean))
    assert PLACES["residual_branch"](trace(model)) == []


def test_a_sum_of_vectors_is_no_residual_branch():
    """A dense residual network has no image or tokens where attention could act."""
    inputs = keras.Input((8,))
    x = layers.Add()([inputs, layers.Dense(8)(layers.Dense(8, activation="relu")(inputs))])
    assert not any(find(trace(keras.Model(inputs, x))) for find in PLACES.values())


def test_a_sum_of_equally_long_paths_is_no_residual_branch():
    """Neither path is the shortcut; the longer of two is the branch."""

    def places(more):
        x = inputs = keras.Input((8, 8, 4))
        x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
        paths = [layers.Conv2D(4, 3, padding="same", name=f"path_{i}")(x) for i in range(2)]
        for i in range(more):
            paths[1] = layers.Conv2D(4, 3, padding="same", name=f"more_{i}")(paths[1])
        model = keras.Model(inputs, layers.Add(name="add")(paths))
        return [call.layer.name for call in PLACES["residual_branch"](trace(model))]

    assert places(0) == []
    assert places(1) == ["more_0"]
    assert places(2) == ["more_1"]


def test_a_model_of_activations_alone_has_its_output_as_head():
    inputs = keras.Input((8, 8, 4))
    outputs = layers.ReLU(name="last")(layers.Softmax()(inputs))
    heads = PLACES["head"](trace(keras.Model(inputs, outputs)))
    assert [call.layer.name for call in heads] == ["last"]


def test_arguments_in_the_name_of_the_attention():
    model = insert_attention(small(), "se:reduction=2", "head", use_bias=True)
    (layer,) = [layer for layer in model.layers if layer.name.endswith("_se")]
    assert (layer.reduction, layer.use_bias) == (2, True)


def test_a_small_network_without_places():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
    calls = trace(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    names = [[call.layer.name for call in find(calls)] for find in PLACES.values()]
    assert names == [[], [], [], ["conv"]]


def test_places_of_inception_resnet():
    inputs = x = keras.Input((8, 8, 4))
    ways = [layers.Conv2D(4, 1)(x), layers.Conv2D(4, 3, padding="same")(x)]
    y = layers.Conv2D(4, 1, name="branch")(layers.Concatenate()(ways))
    x = layers.Activation("relu", name="out")(CustomScaleLayer(0.1)([x, y]))
    calls = trace(keras.Model(inputs, layers.GlobalMaxPooling2D()(x)))
    names = [[call.layer.name for call in find(calls)] for find in PLACES.values()]
    assert names == [["branch"], ["out"], ["out"], ["out"]]


# The published parameters.

SIZES = {256: 3, 512: 5, 1024: 5, 2048: 7}


@pytest.mark.parametrize(
    ("attention", "config", "parameters"),
    [
        ("se", {"use_bias": True}, 2_530_992),
        ("cbam", {}, 2_532_592),
        (lambda layer: ECAAttention(SIZES[layer.output.shape[-1]]), {}, 80),
        ("sge", {}, 2_048),
        ("shuffle", {}, 708),
        ("triplet", {}, 4_800),
    ],
    ids=["se", "cbam", "eca", "sge", "shuffle", "triplet"],
)
def test_published_parameters_over_resnet50(attention, config, parameters):
    model = application("ResNet50")
    assert (
        added(model, insert_attention(model, attention, "residual_branch", **config)) == parameters
    )


# Every application, place after place in the same model.


def in_all_places(name):
    inserted = application(name)
    for place, number in zip(PLACES, COUNTS[name], strict=True):
        key, config = INSERTED[place][list(COUNTS).index(name) % 2]
        if number:
            before, inserted = inserted, insert_attention(inserted, key, place, **config)
            assert sum(n.endswith(f"_{key}") for n in new_layers(before, inserted)) == number
    return inserted


QUICK = ("MobileNetV2", "MobileNetV3Small", "VGG16")
"""The applications that are built within seconds."""


@pytest.mark.parametrize(
    "name",
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.thorough) for one in COUNTS],
)
def test_application(name, tmp_path):
    inserted = in_all_places(name)
    for layer in application(name).layers:
        for old, new in zip(layer.weights, inserted.get_layer(layer.name).weights, strict=True):
            assert new is not old
            np.testing.assert_array_equal(ops.convert_to_numpy(new), ops.convert_to_numpy(old))
    if BACKEND != "jax":
        train_and_reload(inserted, tmp_path / "model.keras")


@pytest.mark.parametrize(("key", "where"), [("cbam", "residual_branch"), ("dot-product", "head")])
def test_training_and_file(key, where, tmp_path):
    model = small()
    inserted = insert_attention(model, key, where)
    assert added(model, inserted) > 0
    train_and_reload(inserted, tmp_path / "model.keras")


@pytest.mark.every_backend
@pytest.mark.skipif(BACKEND != "tensorflow", reason="exports without a further package")
def test_export(tmp_path):
    import tensorflow as tf

    inserted = insert_attention(small(), "coordinate", "block")
    inserted.export(tmp_path / "model", verbose=False)
    x = images(inserted)
    exported = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(exported.serve(x), run(inserted, x), rtol=1e-5, atol=1e-5)


# What is kept.


def test_original_is_untouched():
    model = small()
    model.compile("adam", lambda y, p: ops.mean(p))  # a loss that no file could hold
    x = images(model)
    output, config, weights = run(model, x), model.get_config(), model.get_weights()
    inserted = insert_attention(model, "se", "block")
    train = keras.ops.convert_to_numpy
    for weight in inserted.weights:
        weight.assign(weight + 1)
    np.testing.assert_array_equal(run(model, x), output)
    assert model.get_config() == config
    for old, new in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(train(new), old)
    assert not {id(w) for w in model.weights} & {id(w) for w in inserted.weights}
    assert not inserted.compiled


def test_same_output_with_an_idle_layer():
    """All state is kept, BatchNormalization's and Normalization's statistics too."""
    model = small()
    model.set_weights([1.5 * v + 0.1 for v in model.get_weights()])
    model.get_layer("scale").finalize_state()
    inserted = insert_attention(model, layers.Identity, "block")
    assert new_layers(model, inserted) == ["out_0_identity", "out_1_identity"]
    x = images(model)
    np.testing.assert_array_equal(run(inserted, x), run(model, x))


def test_attention_acts_where_it_is_inserted():
    model = small()
    inserted = insert_attention(model, "external", "conv_0_2", memory_size=3)
    attention = inserted.get_layer("conv_0_2_external")
    part = keras.Model(inserted.input, [inserted.get_layer("conv_0_2").output, attention.output])
    x, y = (ops.convert_to_numpy(t) for t in part(images(model)))
    np.testing.assert_allclose(run(attention, x.reshape(2, 64, 8)), y, rtol=1e-5, atol=1e-5)
    image = inserted.get_layer("conv_0_2_external_image").output
    assert inserted.get_layer("add_0").input[1] is image


def test_frozen_layers_stay_frozen():
    model = small()
    model.trainable = False
    inserted = insert_attention(model, "se", "head", reduction=2)
    assert added(model, inserted) == 64
    assert len(inserted.trainable_weights) == 2


def test_names_and_classes():
    model = small()
    filtered = insert_attention(model, "GFNet", "head")
    assert new_layers(model, filtered) == ["out_1_global_filter"]
    again = insert_attention(filtered, "se", "head")  # the filter is global, but no pooling
    assert new_layers(filtered, again) == ["out_1_global_filter_se"]
    inserted = insert_attention(model, "ChannelSelfAttention", "head")
    assert type(inserted.get_layer("out_1_dual")).__name__ == "ChannelSelfAttention"
    twice = insert_attention(insert_attention(model, SEAttention, "stem"), SEAttention, "stem")
    assert new_layers(model, twice) == ["stem_se_2", "stem_se"]
    chosen = insert_attention(model, "eca", "conv_?_1")
    assert new_layers(model, chosen) == ["conv_0_1_eca", "conv_1_1_eca"]
    chosen = insert_attention(model, "eca", lambda layer: isinstance(layer, layers.ReLU))
    assert new_layers(model, chosen) == ["out_0_eca", "out_1_eca"]


def test_dtype_policy():
    inserted = insert_attention(small(dtype="mixed_float16"), "external", "block")
    for name in new_layers(small(), inserted):
        assert inserted.get_layer(name).compute_dtype == "float16"
    assert inserted.get_layer("out_0_external").variable_dtype == "float32"


@pytest.mark.parametrize("key", ["coordinate", "external"])
def test_channels_first(key):
    first, last = small("channels_first"), small()
    first.set_weights(last.get_weights())
    models = [insert_attention(model, key, "block") for model in (first, last)]
    models[0].set_weights(models[1].get_weights())
    if key == "coordinate":
        assert models[0].get_layer("out_0_coordinate").data_format == "channels_first"
    if BACKEND != "tensorflow":  # which has no such convolution on CPUs
        x = images(last)
        y = run(models[0], x.transpose(0, 3, 1, 2))
        np.testing.assert_allclose(y, run(models[1], x), rtol=1e-4, atol=1e-4)


# Other models.


def test_sequential():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *(layers.Conv2D(8, 3, name="conv"), layers.MaxPooling2D(name="pool")),
            *(layers.Flatten(name="flat"), layers.Dense(2, name="logits")),
        ]
    )
    for where, name in (("block", "conv_se"), ("head", "pool_se")):
        inserted = insert_attention(model, "se", where)
        assert new_layers(model, inserted) == [name]
        assert run(inserted, images(model)).shape == (2, 2)


def test_several_inputs_keep_their_names():
    inputs = {"image": keras.Input((8, 8, 3), name="image"), "meta": keras.Input((5,), name="meta")}
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="conv")(inputs["image"]))
    x = layers.Concatenate()([x, layers.Dense(4)(inputs["meta"])])
    model = keras.Model(inputs, {"score": layers.Dense(1)(x)})
    inserted = insert_attention(model, "se", "head")
    assert new_layers(model, inserted) == ["conv_se"]
    batch = {"image": np.ones((2, 8, 8, 3)), "meta": np.ones((2, 5))}
    assert tuple(inserted(batch)["score"].shape) == (2, 1)


def test_shared_layer_shares_its_attention():
    left, right = keras.Input((8, 8, 3)), keras.Input((6, 6, 3))
    conv, pool = layers.Conv2D(8, 3, name="conv"), layers.GlobalAveragePooling2D()
    model = keras.Model([left, right], pool(conv(left)) - pool(conv(right)))
    inserted = insert_attention(model, "se", "conv", reduction=2)
    assert added(model, inserted) == 64
    x, y = np.ones((2, 8, 8, 3)), np.ones((2, 6, 6, 3))
    np.testing.assert_allclose(run(inserted, [x, y]), 0, atol=1e-6)


def test_shared_layer_at_one_place_only():
    inputs = x = keras.Input((8, 8, 3))
    relu = layers.ReLU(name="relu")
    x = relu(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Add()([x, relu(layers.Conv2D(4, 3, padding="same")(x))])
    inserted = insert_attention(keras.Model(inputs, x), "se", "residual_branch")
    kinds = [call.kind for call in trace(inserted)]
    assert kinds == ["Conv2D", "ReLU", "Conv2D", "ReLU", "SEAttention", "Add"]


def test_nested_model():
    base = small()
    body = keras.Model(base.input, base.get_layer("out_1").output, name="body")
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(body(inputs, training=False))
    model = keras.Model(inputs, layers.Dense(2)(x))
    inserted = insert_attention(model, "se", "head")
    assert new_layers(model, inserted) == ["body_se"]
    body.get_layer("stem").kernel.assign(body.get_layer("stem").kernel + 1)
    again = insert_attention(model, layers.Identity, "body")
    np.testing.assert_array_equal(run(again, images(model)), run(model, images(model)))
    with pytest.raises(ValueError, match="nested model 'body'"):
        insert_attention(model, "se", "residual_branch")


def test_tokens():
    inputs = keras.Input((9, 8), name="tokens")
    x = inputs + layers.Dense(8, name="dense")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    inserted = insert_attention(model, ExternalAttention, "residual_branch", memory_size=4)
    assert new_layers(model, inserted) == ["dense_external"]
    assert run(inserted, np.ones((2, 9, 8))).shape == (2, 8)
    with pytest.raises(ValueError, match=r"CoTAttention .*rank 4.*\(None, 9, 8\)"):
        insert_attention(model, "CoTAttention", "residual_branch")


def test_networks_of_this_package():
    from attn_core.models import GFNet

    model = GFNet(16, depths=2, patch_size=8, image_size=32, num_classes=3)
    inserted = insert_attention(model, "se", "block_*")
    assert new_layers(model, inserted) == ["block_0_se", "block_1_se"]
    assert run(inserted, images(model)).shape == (2, 3)


# What users ran into.


def predictor(end, classes=3):
    """Return a small U-Net: `end` makes predictions of the features, "decoded"."""
    inputs = x = keras.Input((8, 8, 3))
    skip = layers.Conv2D(4, 3, padding="same", activation="relu", name="encoded")(x)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="middle")(skip)
    x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="decoded")(x)
    return keras.Model(inputs, end(x))


def conv(filters=3, size=1, **options):
    return layers.Conv2D(filters, size, padding="same", **options)


PREDICTIONS = {
    "softmax": lambda x: conv(activation="softmax", name="mask")(x),
    "sigmoid": lambda x: conv(1, 3, activation="sigmoid", name="mask")(x),
    "logits": lambda x: conv(name="mask")(x),
    "activation": lambda x: layers.Activation("softmax")(conv()(x)),
    "operation": lambda x: ops.softmax(conv()(x)),
    "resized": lambda x: layers.Softmax()(layers.UpSampling2D(2)(conv()(x))),
    "resized logits": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(conv()(x)),
    "normalized": lambda x: layers.Softmax()(layers.BatchNormalization()(conv()(x))),
    "summed": lambda x: layers.Softmax()(layers.Add()([conv()(x), conv()(x)])),
    "averaged": lambda x: layers.Average()([conv(activation="softmax")(x) for _ in range(2)]),
    "wrapped": lambda x: layers.TimeDistributed(layers.Dense(3, activation="softmax"))(x),
    "reshaped": lambda x: layers.Reshape((64, 3))(conv(activation="softmax")(x)),
    "transposed": lambda x: layers.Conv2DTranspose(3, 2, 2, activation="sigmoid")(x),
    "dense": lambda x: layers.Dense(3, activation="softmax")(x),
    "two": lambda x: [conv(name="mask")(x), conv(1, activation="sigmoid", name="edge")(x)],
    "pooled": lambda x: layers.Softmax()(layers.GlobalAveragePooling2D()(conv()(x))),
    "squeezenet": lambda x: layers.Activation("softmax")(
        layers.GlobalAveragePooling2D()(layers.ReLU()(conv()(layers.Dropout(0.5)(x))))
    ),
    "detector": lambda x: layers.Concatenate(axis=1)(
        [layers.Reshape((-1, 4))(conv(n * 4, 3)(x)) for n in (1, 2)]
    ),
    "joined": lambda x: layers.Concatenate()([conv(4, 3)(x), conv(1, activation="sigmoid")(x)]),
    "shuffled": lambda x: ops.depth_to_space(conv(12, 3)(x), 2),
    "clipped": lambda x: ops.clip(conv(3, 3)(x), 0, 1),
    "classes": lambda x: ops.argmax(conv()(x), -1),
    "decided": lambda x: ops.sigmoid(conv(1)(x)) > 0.5,
    "pooled logits": lambda x: layers.GlobalMaxPooling2D()(conv()(x)),
}
"""What makes predictions of features, for each position or pooled."""


@pytest.mark.parametrize("end", PREDICTIONS)
def test_head_of_predictors(end):
    """Attention acts on the last features, and not on predictions: probabilities sum to one."""
    model = predictor(PREDICTIONS[end])
    inserted = insert_attention(model, "se", "head", reduction=2)
    assert new_layers(model, inserted) in (["decoded_se"], ["dropout_se"], ["dropout_1_se"])
    assert inserted.output_names == model.output_names
    for output, expected in zip(inserted.outputs, model.outputs, strict=True):
        assert output.shape == expected.shape
    if end in ("softmax", "activation", "pooled", "normalized", "summed", "averaged", "wrapped"):
        np.testing.assert_allclose(run(inserted, images(model)).sum(-1), 1, rtol=1e-5)


FEATURES = {
    "relu": lambda x: conv(activation="relu", name="last")(x),
    "activated": lambda x: layers.ReLU(name="last")(conv()(x)),
    "normalized": lambda x: layers.LayerNormalization(name="last")(conv()(x)),
    "pooled": lambda x: layers.GlobalAveragePooling2D()(conv(4, 3, name="last")(x)),
    "mean": lambda x: layers.Dense(2)(ops.mean(conv(name="last")(x), (1, 2))),
    "maximum": lambda x: layers.Dense(2)(ops.max(conv(name="last")(x), axis=[1, 2], keepdims=True)),
    "axis by axis": lambda x: layers.Dense(2)(ops.max(ops.mean(conv(name="last")(x), 1), 1)),
    "flattened pooling": lambda x: layers.Dense(2)(
        layers.Flatten()(layers.GlobalMaxPooling2D(keepdims=True)(conv(name="last")(x)))
    ),
    "average of all": lambda x: layers.Flatten()(
        layers.AveragePooling2D(8)(conv(4, 3, name="last")(x))
    ),
    "flattened": lambda x: layers.Dense(2)(layers.Reshape((-1,))(conv(name="last")(x))),
    "operation": lambda x: layers.Dense(2)(ops.reshape(conv(name="last")(x), (-1, 192))),
}
"""Features, some of which go into a classifier."""


@pytest.mark.parametrize("end", FEATURES.values(), ids=FEATURES)
def test_head_of_features(end):
    model = predictor(end)
    inserted = insert_attention(model, "se", "head", reduction=2)
    assert {name.partition("_")[0] for name in new_layers(model, inserted)} == {"last"}
    assert "last_se" in [layer.name for layer in inserted.layers]
    assert inserted.output_names == model.output_names


def test_head_of_volo_comes_before_its_dense_classifier():
    from attn_core.models import VOLO
    from networks import TINY

    model = VOLO(**TINY["VOLO"], num_classes=3)
    calls = PLACES["head"](trace(model))
    assert [call.layer.name for call in calls] == ["norm"]


def test_head_of_a_correction_of_the_image():
    """The output of a network that removes noise is no feature, but its last convolution."""
    inputs = keras.Input((8, 8, 3))
    noise = conv(3, 3, name="noise")(conv(4, 3, activation="relu", name="last")(inputs))
    inserted = insert_attention(keras.Model(inputs, inputs - noise), "se", "head", reduction=2)
    assert "last_se" in [layer.name for layer in inserted.layers]
    assert "subtract_se" not in [layer.name for layer in inserted.layers]


@pytest.mark.parametrize("end", ["softmax", "pooled"])
@pytest.mark.parametrize("behind", [layers.UpSampling2D, layers.Softmax, layers.Identity])
def test_head_of_a_nested_predictor_is_refused(end, behind):
    """What comes behind the model is no feature."""
    inputs = keras.Input((8, 8, 3))
    outputs = predictor(PREDICTIONS[end])(inputs)
    outputs = outputs if end == "pooled" else behind()(outputs)
    with pytest.raises(ValueError, match=r"places of its own.*insert into it first"):
        insert_attention(keras.Model(inputs, outputs), "se", "head")


def test_a_classifier_that_takes_the_image_has_no_features_before_it():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, conv(activation="softmax")(inputs))
    with pytest.raises(ValueError, match="nothing in model"):
        insert_attention(model, "se", "head")


def test_outputs_keep_their_names(tmp_path):
    """Losses by output name still find their output, after insertion behind it too."""
    model = predictor(PREDICTIONS["two"])
    assert model.output_names == ["mask", "edge"]
    inserted = insert_attention(model, "eca", "mask")
    assert [layer.name for layer in inserted.layers][-2:] in (["mask", "edge"], ["edge", "mask"])
    for one in (
        inserted,
        insert_attention(inserted, "eca", "*e*"),
        keras.models.clone_model(inserted),
    ):
        assert one.output_names == model.output_names
        one.compile("sgd", {"mask": "mse", "edge": "mse"})
        one.train_on_batch(
            images(model), {"mask": np.ones((2, 8, 8, 3)), "edge": np.ones((2, 8, 8, 1))}
        )
    inserted.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").output_names == model.output_names
    kernel = ops.convert_to_numpy(model.get_layer("mask").kernel)
    before = insert_attention(model, layers.Identity, "mask").get_layer("mask_before")
    np.testing.assert_array_equal(ops.convert_to_numpy(before.kernel), kernel)


def test_names_with_dots():
    """PyTorch takes no dots in the names of parameters; Keras' own networks have them."""
    inner = keras.Input((8, 8, 3))
    body = keras.Model(inner, conv(4, name="inner")(inner), name="mobilenetv2_1.00_32")
    inputs = keras.Input((8, 8, 3))
    x = layers.Activation("relu", name="relu_6.0")(body(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    for where, name in (("mobile*", "mobilenetv2_1_00_32"), ("head", "relu_6_0")):
        for key in ("se", "external"):
            inserted = insert_attention(model, key, where)
            assert not [one for one in new_layers(model, inserted) if "." in one]
            assert f"{name}_{key}" in new_layers(model, inserted)
            assert run(inserted, images(model)).shape == (2, 2)


def closures():
    """Return layers with code of the user's, which no configuration can hold."""
    half = 0.5
    image = keras.Input((8, 8, 3))
    scaled = layers.Lambda(lambda x, add: half * x + add, arguments={"add": 1.0}, name="half")
    return {
        "lambda": scaled,
        "functional": keras.Model(image, scaled(image)),
        "sequential": keras.Sequential([image, scaled]),
        "wrapped": layers.TimeDistributed(scaled),
        "deep": keras.Sequential([image, layers.TimeDistributed(scaled)]),
        "activation": conv(activation=lambda x: half * x),
        "regularizer": conv(kernel_regularizer=lambda x: half * ops.sum(x * x)),
    }


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("kind", closures())
def test_code_of_the_user_is_copied(kind):
    inputs = keras.Input((8, 8, 3))
    x = closures()[kind](inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(conv(4, name="conv")(x)))
    inserted = insert_attention(model, layers.Identity, "conv")
    np.testing.assert_array_equal(run(inserted, images(model)), run(model, images(model)))
    assert len(inserted.losses) == len(model.losses)


def test_nested_models_stay_as_they_are():
    """Their names, their classes and which layers of them are frozen."""
    image = keras.Input((8, 8, 3), name="image")
    body = keras.Sequential([image, conv(4, name="one"), conv(4, name="two")], name="body")
    body.get_layer("one").trainable = False
    both = keras.Model(image, body(image), name="both")
    x = layers.GlobalAveragePooling2D()(conv(4, name="conv")(both(image)))
    inserted = insert_attention(keras.Model(image, x), layers.Identity, "conv")
    twin = inserted.get_layer("both").get_layer("body")
    assert type(twin) is keras.Sequential
    assert [layer.trainable for layer in twin.layers] == [False, True]
    body.trainable = False
    inserted = insert_attention(keras.Model(image, x), layers.Identity, "conv")
    assert not inserted.get_layer("both").trainable_weights


class Closed(layers.Layer):
    """A layer whose constructor takes nothing of Keras'."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Silent(layers.Layer):
    """A layer whose configuration lacks its argument."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {"name": self.name}


@pytest.mark.parametrize("kind", [Closed, Silent])
@pytest.mark.parametrize("around", ["model", "wrapper", "sequential"])
def test_layers_that_cannot_be_copied(kind, around):
    """The error names the layer itself, also where it is within another."""
    inputs = keras.Input((8, 8, 3))
    layer = kind(2.0)
    within = {
        "model": lambda: layer,
        "wrapper": lambda: layers.TimeDistributed(layer),
        "sequential": lambda: keras.Sequential([keras.Input((8, 8, 3)), layer]),
    }
    x = layers.GlobalAveragePooling2D()(conv(4, name="conv")(within[around]()(inputs)))
    words = rf"insert_attention: the layer '{layer.name}' cannot be copied.*\*\*kwargs.*get_config"
    with pytest.raises(ValueError, match=words):
        insert_attention(keras.Model(inputs, x), "se", "conv")


def test_a_part_of_two_models_is_refused():
    """Each would get a copy: 112 parameters would become 224."""
    inner = keras.Input((8, 8, 3))
    encoder = keras.Model(inner, conv(4)(inner), name="encoder")
    nested = []
    for name in ("left", "right"):
        one = keras.Input((8, 8, 3))
        nested.append(keras.Model(one, encoder(one), name=name))
    inputs = keras.Input((8, 8, 3))
    words = r"'encoder' belongs to both 'left' and 'right'"
    model = keras.Model(inputs, layers.Add(name="sum")([nested[0](inputs), nested[1](inputs)]))
    with pytest.raises(ValueError, match=words):
        insert_attention(model, "se", "sum")
    one = keras.Input((8, 8, 3))
    outer = keras.Model(one, model(one))
    with pytest.raises(ValueError, match=words):
        insert_attention(outer, "se", model.name)
    each = layers.TimeDistributed(encoder)(keras.ops.expand_dims(inputs, 1))
    model = keras.Model(inputs, layers.Add(name="sum")([encoder(inputs), each[:, 0]]))
    with pytest.raises(ValueError, match="belongs to both"):
        insert_attention(model, "se", "sum")
    # One model that is called twice is one layer.
    model = keras.Model(inputs, layers.Add(name="sum")([encoder(inputs), encoder(2 * inputs)]))
    inserted = insert_attention(model, layers.Identity, "sum")
    assert inserted.count_params() == model.count_params() == encoder.count_params()


SPACE = {
    1: (layers.Conv1D, layers.GlobalAveragePooling1D),
    3: (layers.Conv3D, layers.GlobalAveragePooling3D),
}
"""Convolution and pooling by the number of spatial axes."""


@pytest.mark.parametrize(
    ("key", "config"), [("se", {}), ("cbam", {"kernel_size": 3}), ("sge", {"groups": 4})]
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("axes", SPACE)
def test_gates_of_signals(key, config, data_format, known, axes):
    """Gates take the features of Conv1D and Conv3D as they are."""
    first = data_format == "channels_first"
    size = [12, 6, 5][:axes]
    shape = size if known else [None] * axes
    inputs = keras.Input((3, *shape) if first else (*shape, 3))
    convolution, pooling = SPACE[axes]
    options = {"padding": "same", "data_format": data_format, "name": "conv"}
    x = convolution(16, 3, **options)(inputs)
    model = keras.Model(inputs, pooling(data_format=data_format, name="pool")(x))
    inserted = insert_attention(model, key, "head", name="gate", **config)
    assert [one.name for one in inserted.layers[1:]] == ["conv", "gate", "pool"]
    gate = inserted.get_layer("gate")
    assert gate.data_format == data_format
    x = np.random.default_rng(0).uniform(size=(2, *((3, *size) if first else (*size, 3))))
    x = x.astype("float32")
    expected = ops.convert_to_numpy(gate(inserted.get_layer("conv")(x)))
    over = tuple(range(2, axes + 2)) if first else tuple(range(1, axes + 1))
    np.testing.assert_allclose(run(inserted, x), expected.mean(over), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [12, None])
def test_gates_on_images_see_one_column(length):
    """A gate whose mathematics needs two axes sees a signal as an image of one column."""
    inputs = keras.Input((length, 3))
    x = layers.Conv1D(16, 3, padding="same", name="conv")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D(name="pool")(x))
    inserted = insert_attention(model, "coordinate", "head", name="gate")
    gate = inserted.get_layer("gate")
    x = np.random.default_rng(0).standard_normal((2, 12, 3)).astype("float32")
    features = ops.convert_to_numpy(inserted.get_layer("conv")(x))
    expected = ops.convert_to_numpy(gate(features[:, :, None]))[:, :, 0].mean(1)
    np.testing.assert_allclose(run(inserted, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_positions_of_volumes_are_tokens(data_format):
    first = data_format == "channels_first"
    inputs = keras.Input((3, 4, 5, 6) if first else (4, 5, 6, 3))
    x = layers.Conv3D(8, 3, padding="same", data_format=data_format, name="conv")(inputs)
    pool = layers.GlobalAveragePooling3D(data_format=data_format)
    inserted = insert_attention(keras.Model(inputs, pool(x)), "external", "head", name="tokens")
    attention, x = inserted.get_layer("tokens"), images(inserted)
    features = ops.convert_to_numpy(inserted.get_layer("conv")(x))
    features = np.moveaxis(features, 1, -1) if first else features
    expected = ops.convert_to_numpy(attention(features.reshape(2, -1, 8))).mean(1)
    np.testing.assert_allclose(run(inserted, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["integers", "strings", "text"])
def test_vocabularies_are_copied(kind):
    pytest.importorskip("tensorflow", reason="Keras looks words up with TensorFlow")
    if kind != "integers" and BACKEND != "tensorflow":
        pytest.skip("models of strings run on TensorFlow alone")
    if kind == "integers":
        table, x, dtype = layers.IntegerLookup(), np.array([[[7], [9]], [[9], [5]]]), "int64"
        table.adapt(np.array([7, 9, 9]))
    else:
        table = layers.StringLookup() if kind == "strings" else layers.TextVectorization()
        table.adapt(["a b", "b"])
        dtype, x = "string", ops.convert_to_tensor([["b"], ["a b"]])
    inputs = keras.Input(x.shape[1:], dtype=dtype)
    y = layers.Embedding(8, 4)(table(inputs))
    y = layers.Dense(4, name="dense")(y)
    model = keras.Model(inputs, y)
    inserted = insert_attention(model, layers.Identity, "dense")
    np.testing.assert_array_equal(run(inserted, x), run(model, x))


BINS = [-1.0, 0.0, 1.0]


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("preparation", "dtype"),
    [
        (lambda x: adapted(layers.Normalization(), x), "float32"),
        (lambda x: layers.Normalization(mean=2.0, variance=9.0), "float32"),
        (lambda x: adapted(layers.Discretization(num_bins=4, output_mode="one_hot"), x), "float32"),
        (lambda x: layers.Discretization(BINS, output_mode="one_hot"), "float32"),
        (lambda x: layers.Hashing(4, salt=[1, 2], output_mode="one_hot"), "int32"),
        (lambda x: layers.CategoryEncoding(5), "int32"),
    ],
    ids=["normalized", "normalized as told", "in bins", "in given bins", "hashed", "categories"],
)
def test_preparations_of_numbers_are_copied(preparation, dtype, tmp_path):
    """What layers learned from data is, too, through a file, and maps are found behind them."""
    pytest.importorskip("tensorflow", reason="Keras sorts and hashes with TensorFlow")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (4, 6)) if dtype == "int32" else 3 * rng.standard_normal((4, 6))
    inputs, x = keras.Input((6,), dtype=dtype), x.astype(dtype)
    y = layers.Flatten()(preparation(x)(inputs))
    y = layers.Dense(8, name="dense")(layers.Reshape((-1, 1))(y))
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(y))
    same = insert_attention(model, layers.Identity, "dense")
    np.testing.assert_array_equal(run(same, x), run(model, x))
    assert attention_maps(insert_attention(model, "se", "dense"), x)
    same.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(again, x), run(model, x))


@keras.saving.register_keras_serializable("test_insertion")
class Scaled(layers.Layer):
    """A user's layer without `get_config`: Keras notes the arguments of its constructor."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor


def test_layers_without_configuration_are_saved(tmp_path):
    inserted = insert_attention(small(), Scaled, "stem", factor=3.0)
    inserted.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(again, images(inserted)), run(inserted, images(inserted)))
    (scaled,) = (layer for layer in again.layers if isinstance(layer, Scaled))
    assert scaled.factor == 3.0


def adapted(layer, x):
    layer.adapt(x)
    return layer


@pytest.mark.every_backend
def test_crossed_features_are_copied():
    """They have two inputs."""
    pytest.importorskip("tensorflow", reason="Keras hashes with TensorFlow")
    first, second = (keras.Input((), dtype="int32") for _ in range(2))
    crossed = layers.HashedCrossing(9, output_mode="one_hot")([first, second])
    y = layers.Dense(4, name="dense")(layers.Reshape((9, 1))(crossed))
    model = keras.Model([first, second], y)
    x = [np.array([1, 2, 3], "int32"), np.array([4, 4, 5], "int32")]
    same = insert_attention(model, layers.Identity, "dense")
    np.testing.assert_array_equal(run(same, x), run(model, x))
    assert attention_maps(insert_attention(model, "se", "dense"), x)


# Errors.


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


class Overridden(keras.Model):
    def call(self, x):
        return 2 * super().call(x)


def overridden():
    model = small()
    return Overridden(model.input, model.output)


def several_outputs():
    inputs = keras.Input((9, 8))
    states = layers.LSTM(4, return_state=True, name="lstm")(inputs)
    return keras.Model(inputs, states[0])


@pytest.mark.parametrize(
    ("model", "attention", "where", "words"),
    [
        (small, "cban", "block", ("'cban'", "Did you mean cbam")),
        (small, "cbam:reducton=4", "block", ("CBAM", "reducton=4", "`reduction`")),
        (small, SEAttention(), "block", ("`attention`", "of its own", "SEAttention")),
        (small, 3, "block", ("`attention`", "attention=3")),
        (small, lambda layer: None, "block", ("`attention`", "'out_0'", "None")),
        (small, "se", 3, ("`where`", "'stage'", "where=3")),
        (small, "se", "out_9", ("'small'", "'block' (2)", "'out_1'", "where='out_9'")),
        (small, "se", lambda layer: False, ("'small'", "'block' (2)")),
        (small, "se", "logits", ("SEAttention 'logits_se'", "rank 3", "(None, 4)")),
        (small, lambda layer: layers.Dense(5), "head", ("keep the shape", "(None, 4, 4, 5)")),
        (small, lambda layer: layers.Flatten(), "head", ("keep the shape", "(None, 128)")),
        (lambda: small(size=(None, None)), "external", "head", ("ExternalAttention", "height")),
        (
            lambda: small("channels_first", size=(None, 8)),
            "external",
            "block",
            ("ExternalAttention", "height"),
        ),
        (lambda: application("VGG16"), "se", "residual_branch", ("'VGG16'", "'block' (5)")),
        (lambda: small, "se", "block", ("`model`", "keras.Model")),
        (lambda: keras.Sequential([layers.Dense(2)]), "se", "head", ("built", "keras.Input")),
        (Subclassed, "se", "head", ("functional", "Subclassed")),
        (several_outputs, "ufo", "lstm", ("one tensor", "'lstm'")),
        (overridden, "se", "head", ("functional", "Overridden")),
    ],
)
def test_errors(model, attention, where, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        insert_attention(model(), attention, where)
    for word in words:
        assert word in str(caught.value)


def test_mechanism_that_changes_the_shape():
    with pytest.raises(ValueError, match=r"keep the shape, \(None, 4, 4, 8\).*ResidualAttention"):
        insert_attention(small(), "residual", "head", num_classes=3)
    with pytest.raises(ValueError, match="divisible by 2 \\* groups=128"):
        insert_attention(small(), "shuffle", "head")
