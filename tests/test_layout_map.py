"""`layout_map`: which weights it splits, and what it refuses. How well: tests/distribution."""

import keras
import pytest
from attn_core import MBConv, RelativeSelfAttention
from attn_core.distribution import layout_map
from keras.distribution import DeviceMesh

MESH = DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])


def built(layer, shape=(None, 4, 4, 8)):
    layer.build(shape)
    return layer


def split(layouts):
    """Return the split axis of each weight, or None, by the last two parts of its path."""
    found = {}
    for path in layouts:
        axes = layouts[path].axes
        found["/".join(path.split("/")[-2:])] = axes.index("model") if "model" in axes else None
    return found


def test_first_by_outputs_second_by_inputs():
    found = split(layout_map(built(RelativeSelfAttention(2, key_dim=4)), MESH, min_size=1))
    assert found["project/kernel"] == 0
    assert found["project/bias"] is None  # it is added once, after the sum
    queries = [name for name in found if name.endswith("kernel") and not name.startswith("project")]
    assert queries
    assert all(found[name] == 1 for name in queries)


def test_what_does_not_divide_or_is_small_stays_whole():
    three_heads = built(RelativeSelfAttention(3, key_dim=4))
    assert set(split(layout_map(three_heads, MESH, min_size=1)).values()) == {None}
    block = built(MBConv(8))
    assert set(split(layout_map(block, MESH)).values()) == {None}
    three = DeviceMesh((1, 3), ("batch", "model"), ["cpu:0", "cpu:1", "cpu:2"])
    assert set(split(layout_map(block, three, min_size=1)).values()) == {None}
    assert set(split(layout_map(block, MESH, min_size=1)).values()) > {None}


def test_every_weight_has_an_entry():
    block = built(MBConv(8))
    assert sorted(layout_map(block, MESH)) == sorted(weight.path for weight in block.weights)


class Twins(keras.layers.Layer):
    """Two children of one name."""

    def build(self, input_shape):
        self.one, self.two = (keras.layers.Dense(3, name="dense") for _ in range(2))
        self.one.build(input_shape)
        self.two.build(input_shape)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((built(MBConv(8)), "cpu:0"), {}, ("mesh", "DeviceMesh", "cpu:0")),
        ((built(MBConv(8)), MESH), {"axis": "modell"}, ("axis", "batch, model", "modell")),
        ((built(MBConv(8)), MESH), {"min_size": 0}, ("min_size", "0")),
        ((built(MBConv(8)), MESH), {"min_size": 1.5}, ("min_size", "1.5")),
        ((built(MBConv(8)), MESH), {"min_size": True}, ("min_size", "True")),
        ((MBConv(8, name="block"), MESH), {}, ("MBConv", "block", "not built")),
    ],
    ids=["mesh", "axis", "zero", "float", "bool", "unbuilt"],
)
def test_bad_input(arguments, options, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        layout_map(*arguments, **options)
    for word in words:
        assert word in str(caught.value)


def test_two_weights_of_one_path():
    with pytest.raises(ValueError, match=r"two weights of one path.*dense/kernel"):
        layout_map(built(Twins(), (None, 3)), MESH)
