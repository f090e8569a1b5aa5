"""`load_torch_weights`: all or nothing, from mappings and files, never from a pickle."""

import keras
import numpy as np
import pytest
from attn_core import CBAM, SEAttention, load_torch_weights, models
from attn_core._weights.entries import _depthwise_conv, entries
from keras import ops
from networks import TINY
from safetensors.numpy import save_file
from test_layers import numpy


@pytest.fixture
def layer():
    layer = SEAttention(reduction=2)
    layer.build((None, None, None, 8))
    return layer


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    return {
        "fc.0.weight": rng.standard_normal((4, 8)).astype("float32"),
        "fc.2.weight": rng.standard_normal((8, 4)).astype("float32"),
    }


def weights(layer):
    return [ops.convert_to_numpy(weight) for weight in layer.weights]


def assert_loaded(layer, state):
    first, second = weights(layer)
    np.testing.assert_array_equal(first, state["fc.0.weight"].T)
    np.testing.assert_array_equal(second, state["fc.2.weight"].T)


def assert_refused(layer, source, *words, error=ValueError, **options):
    before = weights(layer)
    with pytest.raises(error) as caught:
        load_torch_weights(layer, source, **options)
    for word in words:
        assert word in str(caught.value)
    for one, other in zip(before, weights(layer), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mapping(layer, state):
    load_torch_weights(layer, state)
    assert_loaded(layer, state)


def test_prefix_and_counters(layer, state):
    named = {f"layer1.se.{name}": array for name, array in state.items()}
    named |= {"conv1.weight": np.zeros(3), "layer1.se.bn.num_batches_tracked": np.array(7)}
    load_torch_weights(layer, named, prefix="layer1.se.")
    assert_loaded(layer, state)


def test_one_by_one_convolutions_are_dense(layer, state):
    load_torch_weights(layer, {name: array[..., None, None] for name, array in state.items()})
    assert_loaded(layer, state)


def test_npz(layer, state, tmp_path):
    np.savez(tmp_path / "se.npz", **state)
    load_torch_weights(layer, tmp_path / "se.npz")
    assert_loaded(layer, state)


def test_safetensors(layer, state, tmp_path):
    save_file(state, tmp_path / "se.safetensors")
    load_torch_weights(layer, str(tmp_path / "se.safetensors"))
    assert_loaded(layer, state)


def test_torch_tensors(layer, state):
    torch = pytest.importorskip("torch")
    tensors = {n: torch.nn.Parameter(torch.tensor(a).bfloat16()) for n, a in state.items()}
    load_torch_weights(layer, tensors)
    np.testing.assert_allclose(weights(layer)[0], state["fc.0.weight"].T, rtol=1e-2)


def test_every_problem_is_listed_and_nothing_loaded(layer, state):
    wrong = {"fc.2.weight": state["fc.2.weight"].T, "fc.9.weight": np.zeros(2)}
    assert_refused(
        layer,
        wrong,
        "SEAttention",
        "missing: fc.0.weight, of shape (4, 8)",
        "misshapen: fc.2.weight, expected shape (8, 4), received (4, 8)",
        "unexpected: fc.9.weight, of shape (2,)",
    )


def test_one_misshapen_among_many(state):
    layer = CBAM(reduction=2)
    layer.build((None, None, None, 4))
    right = {
        "ChannelGate.mlp.1.weight": (2, 4),
        "ChannelGate.mlp.1.bias": (2,),
        "ChannelGate.mlp.3.weight": (4, 2),
        "ChannelGate.mlp.3.bias": (4,),
        "SpatialGate.spatial.conv.weight": (1, 2, 7, 7),
        "SpatialGate.spatial.bn.weight": (1,),
        "SpatialGate.spatial.bn.bias": (1,),
        "SpatialGate.spatial.bn.running_mean": (1,),
        "SpatialGate.spatial.bn.running_var": (1,),
    }
    arrays = {name: np.ones(shape) for name, shape in right.items()}
    arrays["SpatialGate.spatial.conv.weight"] = np.ones((1, 2, 3, 3))
    assert_refused(layer, arrays, "expected shape (1, 2, 7, 7), received (1, 2, 3, 3)")


def test_pickles_are_refused(layer, tmp_path):
    np.savez(tmp_path / "objects.npz", **{"fc.0.weight": np.array([{}], dtype=object)})
    assert_refused(layer, tmp_path / "objects.npz", "objects.npz", "pickle")
    (tmp_path / "model.pth").write_bytes(b"\x80\x04")
    assert_refused(layer, tmp_path / "model.pth", ".safetensors or .npz", "pickle")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_broken_files(layer, state, tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"PK\x03\x04 this is no archive")
    assert_refused(layer, path, "broken")
    np.savez(tmp_path / "whole.npz", **state)
    path.write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    assert_refused(layer, path, "broken")


def test_bad_sources(layer, tmp_path):
    assert_refused(layer, tmp_path / "no.npz", "no.npz", error=FileNotFoundError)
    assert_refused(layer, 3, "mapping", "Received: 3")
    names = {"fc.0.weight": np.array(["a"]), "fc.2.weight": np.zeros((8, 4))}
    assert_refused(layer, names, "fc.0.weight", "numbers")


def test_unbuilt_and_unknown_layers(state):
    with pytest.raises(ValueError, match="is not built"):
        load_torch_weights(SEAttention(), state)
    with pytest.raises(ValueError, match="no counterpart in PyTorch"):
        load_torch_weights(keras.layers.Dense(3), state)


def test_float64_keeps_its_precision(state):
    """A float64 checkpoint fills a float64 layer number for number."""
    layer = SEAttention(reduction=2, dtype="float64")
    layer.build((None, None, None, 8))
    exact = {name: array.astype("float64") + 1e-12 for name, array in state.items()}
    load_torch_weights(layer, exact)
    assert_loaded(layer, exact)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.module."])
def test_wrappers(layer, state, wrapper):
    assert load_torch_weights(layer, {wrapper + k: one for k, one in state.items()}).left == ()
    assert_loaded(layer, state)
    load_torch_weights(layer, {"module." + k: one for k, one in state.items()}, prefix="module.")


@pytest.mark.parametrize(
    "keys", [("state_dict",), ("checkpoint", "model"), ("model", "net"), ("params_ema",)]
)
def test_checkpoints_of_training_runs(layer, state, keys):
    """The state_dict may be within; where it is not known which it is, the error names it."""
    content = state
    for key in reversed(keys):
        content = {key: content, "epoch": 3}
    if keys[0] == "checkpoint":
        with pytest.raises(ValueError, match="pass the entry 'checkpoint' of it"):
            load_torch_weights(layer, content)
    else:
        load_torch_weights(layer, content)
        assert_loaded(layer, state)


def test_prefix_is_hinted_at(layer, state):
    named = {f"layer1.0.se.{name}": array for name, array in state.items()}
    named["conv.weight"] = np.ones(3)
    assert_refused(layer, named, "The names fit with prefix='layer1.0.se.'")


def test_hints_do_not_contradict_another():
    """Many entries that do not fit are another network's, unless something known would help."""
    model = network("VOLO")
    state = {f"backbone.{key}": np.ones(entry.shape) for key, entry in entries(model).items()}
    whole = {key.removeprefix("backbone."): one for key, one in state.items()}
    for target, source, hint in (
        (model, state, "The names fit with prefix='backbone.'."),
        (network("VOLO", include_top=False), whole, "`skip_mismatch=True` leaves it as it is)."),
    ):
        with pytest.raises(ValueError, match="nothing was loaded") as caught:
            load_torch_weights(target, source)
        assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("name", ["GFNet", "GFNetPyramid", "CoAtNet", "Swin", "VOLO"])
def test_checkpoints_of_another_size(name):
    state = {key: np.ones(entry.shape) for key, entry in entries(network(name)).items()}
    assert_refused(network(name, image_size=128), state, "network of the checkpoint's size, then")
    wrong = {**state, next(iter(state)): np.ones(1234)}
    with pytest.raises(ValueError, match="1234") as caught:
        load_torch_weights(network(name), wrong)
    assert "resized" not in str(caught.value)


def network(name, **options):
    return getattr(models, name)(**{**TINY[name], "num_classes": 3, **options})


def fill(model, value):
    for variable in model.variables:
        variable.assign(np.full(variable.shape, value))


OTHERS = {"classes": {"num_classes": 5}, "no top": {"include_top": False}}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("other", OTHERS)
def test_all_but_the_classifier(name, other):
    source = network(name)
    state = {key: np.full(entry.shape, 0.3) for key, entry in entries(source).items()}
    model = network(name, **OTHERS[other])
    fill(model, 0.1)
    hint = "skip_mismatch=True"
    assert_refused(model, state, hint, "nothing was loaded")
    left = load_torch_weights(model, state, skip_mismatch=True).left
    assert {one.split(":")[0] for one in left} == (
        {"misshapen"} if other == "classes" else {"unexpected"}
    )
    for layer in model.layers:
        kept = layer.name in ("head", "dense_head")
        assert all(np.allclose(x, 0.1 if kept else 0.3) for x in map(numpy, layer.weights)), layer
    broken = {key: one for key, one in state.items() if key != next(iter(state))}
    assert_refused(model, broken, "missing", next(iter(state)), skip_mismatch=True)


@pytest.mark.parametrize("name", TINY)
def test_classifier_that_fits_may_stay(name):
    model = network(name)
    state = {key: np.full(entry.shape, 0.3) for key, entry in entries(model).items()}
    fill(model, 0.1)
    left = load_torch_weights(model, state, head=False).left
    heads = [layer for layer in model.layers if layer.name in ("head", "dense_head")]
    assert len(left) == sum(len(layer.weights) for layer in heads)
    for layer in model.layers:
        expected = 0.1 if layer in heads else 0.3
        assert all(np.allclose(x, expected) for x in map(numpy, layer.weights)), layer


@pytest.mark.parametrize("name", TINY)
def test_kernels_for_grey_images(name):
    """Grey images give what they give as colour images of three equal channels."""
    colour, grey = network(name), network(name, in_channels=1)
    rng = np.random.default_rng(0)
    state = {
        key: 0.3 + 0.05 * rng.standard_normal(entry.shape) for key, entry in entries(colour).items()
    }
    load_torch_weights(colour, state)
    assert_refused(grey, state, "All fits but the channels of the images (`adapt_channels=True`")
    load_torch_weights(grey, state, adapt_channels=True)
    size = [side or 64 for side in grey.input_shape[1:3]]
    x = rng.standard_normal((2, *size, 1)).astype("float32")
    expected = numpy(colour(np.repeat(x, 3, -1)))
    np.testing.assert_allclose(numpy(grey(x)), expected, rtol=1e-4, atol=1e-4)


def test_kernels_for_more_channels():
    """The channels of the checkpoint in turn; nothing else may differ, and what fits stays."""
    kernel = "inits.0.0.block.rbr_dense.conv.weight"
    shapes = {key: entry.shape for key, entry in entries(network("ParNet")).items()}
    rng = np.random.default_rng(0)
    state = {key: rng.standard_normal(shape).astype("float32") for key, shape in shapes.items()}
    model = network("ParNet", in_channels=5, num_classes=7)
    assert_refused(model, state, "All fits but the classifier (`skip_mismatch=True` leaves it as")
    assert_refused(model, state, "leaves it as it is) and the channels of the images (`adapt_")
    load_torch_weights(model, state, skip_mismatch=True, adapt_channels=True)
    expected = state[kernel][:, [0, 1, 2, 0, 1]] * 0.6
    ours = numpy(model.get_layer("stem").spatial.kernel).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    larger = {**state, kernel: np.ones((8, 3, 5, 5))}
    assert_refused(model, larger, kernel, skip_mismatch=True, adapt_channels=True)
    colour = network("ParNet")
    load_torch_weights(colour, state, adapt_channels=True)
    ours = numpy(colour.get_layer("stem").spatial.kernel).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(ours, state[kernel])


def test_skipping_loads_something(layer, state):
    wrong = {"other.weight": np.ones(3)}
    assert_refused(layer, wrong, "nothing was loaded", skip_mismatch=True)
    assert_refused(network("GFNet"), {"head.bias": np.ones(3)}, "missing", skip_mismatch=True)


@pytest.mark.parametrize("size", [(3,), (3, 2)])
def test_depthwise_kernels_of_torch(size):
    """`(C * multiplier, 1, ...)` to `(..., C, multiplier)`, the multiplier innermost."""
    kinds = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}
    layer = kinds[len(size)](size if len(size) > 1 else size[0], depth_multiplier=2, use_bias=False)
    layer.build((None, *[8] * len(size), 5))
    theirs = np.arange(10 * np.prod(size), dtype="float32").reshape(10, 1, *size)
    entry = _depthwise_conv(layer)["weight"]
    (ours,) = entry.convert(theirs)
    assert ours.shape == (*size, 5, 2)
    for channel, multiple in np.ndindex(5, 2):
        np.testing.assert_array_equal(
            ours[..., channel, multiple], theirs[2 * channel + multiple, 0]
        )
