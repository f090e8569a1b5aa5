"""Attention maps of whole models, and the pictures of them."""

import io
import sys

import attn_core
import keras
import numpy as np
import pytest
from attn_core import (
    BAM,
    CBAM,
    AxialAttention,
    ChannelSelfAttention,
    CoordinateAttention,
    CoTAttention,
    CrissCrossAttention,
    CrossFormerAttention,
    HaloAttention,
    MobileViTBlock,
    NeighborhoodAttention,
    OutlookAttention,
    PositionAttention,
    SEAttention,
    SKAttention,
    SpatialGroupEnhance,
    WindowAttention,
)
from attn_core._tools.drawings import describe
from attn_core._tools.maps import Recorded, attention_maps, record
from attn_core._tools.pictures import visualize
from attn_core.layers._base import ImageLayer, TokenLayer
from attn_core.layers._maps import Attention
from cases import CASES
from keras import ops

MAPPED = [case for case in CASES if case.has_map]


def on_image(case):
    """Return a model that applies a layer to an image, tokens being its positions."""
    options = {"data_format": "channels_last"} if issubclass(case.cls, ImageLayer) else {}
    layer, channels = case.make(name="attention", **options), case.shape[-1]
    x = inputs = keras.Input(case.shape[1:] if case.is_image else (3, 3, channels))
    if not case.is_image:
        patches = (1,) * (len(case.shape) - 3)
        x = keras.layers.Reshape((*patches, 9, channels))(x)
    return keras.Model(inputs, layer(x))


@pytest.mark.parametrize("case", MAPPED, ids=lambda case: case.id)
def test_every_layer_with_a_map(case):
    model = on_image(case)
    x = case.draw((1, *model.input_shape[1:]))
    maps = attention_maps(model, x)
    assert list(maps) == ["attention"]
    (one,) = record(model, x).values()
    expected = one.layer.compute_attention_shape(one.input_shape)
    assert keras.tree.map_structure(np.shape, maps["attention"]) == expected

    found = [describe(one, i, x.shape[1:3], query=(1, 2)).kind for i in range(len(one.each))]
    assert found == list((case.facts.drawn or case.record.drawn)[: len(found)])
    for options in ({}, {"query": (1, 2), "head": 0}, {"query": 0}):
        for i in range(len(one.each)):
            describe(one, i, x.shape[1:3], **options)
    figure = visualize(model, x[0], query=(1, 2), data_format="channels_last")
    assert len(figure.subfigs) == len(one.each)
    figure.savefig(io.BytesIO(), dpi=40)


def test_values_are_those_the_layer_returns():
    layer = CBAM(reduction=2, data_format="channels_last", name="cbam")
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 8)).astype("float32")
    _, (channel, spatial) = layer(x, return_attention_scores=True)
    maps = attention_maps(layer, x)["cbam"]
    np.testing.assert_array_equal(maps[0], ops.convert_to_numpy(channel))
    np.testing.assert_array_equal(maps[1], ops.convert_to_numpy(spatial))


def small_model():
    """Return a model that holds a layer, a model that holds a layer and is called twice."""
    options = {"data_format": "channels_last", "name": "attention"}
    inner = keras.Input((4, 4, 8))
    inner = keras.Model(inner, CBAM(reduction=2, **options)(inner), name="backbone")
    inputs = keras.Input((4, 4, 8))
    x = SEAttention(reduction=2, **options)(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(inner(inner(x))))


def test_paths_of_models_within_models_and_of_layers_called_twice(tmp_path):
    model = small_model()
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 8)).astype("float32")
    maps = attention_maps(model, x)
    assert list(maps) == ["attention", "backbone/attention", "backbone/attention#2"]
    assert maps["attention"].shape == (3, 1, 1, 8)
    assert not np.array_equal(maps["backbone/attention"][0], maps["backbone/attention#2"][0])

    model.save(tmp_path / "model.keras")
    reloaded = attention_maps(keras.saving.load_model(tmp_path / "model.keras"), x)
    assert list(reloaded) == list(maps)
    for path, expected in maps.items():
        keras.tree.map_structure(np.testing.assert_allclose, reloaded[path], expected)


def test_a_model_that_was_not_built():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.attention = SEAttention(reduction=2, name="attention")

        def call(self, x):
            return self.attention(x)

    maps = attention_maps(Subclassed(), np.ones((1, 4, 4, 8), "float32"))
    assert list(maps) == ["attention"]


def test_mixed_precision_gives_float32():
    layer = SEAttention(name="se", dtype="mixed_bfloat16")
    maps = attention_maps(layer, np.ones((1, 4, 4, 8), "float32"))
    assert maps["se"].dtype == np.float32


def test_a_model_without_maps():
    model = keras.Sequential([keras.layers.Dense(2, name="d")], name="plain")
    with pytest.raises(ValueError, match=r"'plain' has no layer with an attention map.*Dense"):
        attention_maps(model, np.ones((1, 3), "float32"))


# Calls that do not go through `__call__`.


@pytest.mark.every_backend
def test_layers_in_a_wrapper():
    """`TimeDistributed` calls the `call` of its layer, once for each step."""
    layer = CBAM(reduction=4, data_format="channels_last", name="cbam")
    inputs = keras.Input((3, 4, 4, 8))
    wrapper = keras.layers.TimeDistributed(layer, name="each")
    model = keras.Model(inputs, wrapper(inputs))
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4, 8)).astype("float32")
    maps = attention_maps(model, x)
    assert list(maps) == ["each/cbam", "each/cbam#2", "each/cbam#3"]
    for step, gates in enumerate(maps.values()):
        (expected,) = attention_maps(layer, x[:, step]).values()
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gates, expected
        )
    wrapper = keras.layers.TimeDistributed(CBAM(reduction=4, data_format="channels_last"))
    with pytest.raises(ValueError, match=r"CBAM.*must hold floating-point numbers.*int32"):
        wrapper(np.ones((2, 3, 4, 4, 8), "int32"))


class Calls(keras.layers.Layer):
    """A block that calls the `call` of a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = SEAttention(reduction=2, data_format="channels_last", name="attention")

    def build(self, input_shape):
        self.attention.build(input_shape)

    def call(self, x):
        return self.attention.call(x)


def test_blocks_that_call_call():
    inputs = keras.Input((4, 4, 8))
    model = keras.Model(inputs, Calls(name="block")(inputs))
    maps = attention_maps(model, np.ones((1, 4, 4, 8), "float32"))
    assert list(maps) == ["block/attention"]


def test_the_transformer_of_mobilevit():
    """A map for each pixel of a patch and each head, over the patches, image by image."""
    block = MobileViTBlock(8, num_blocks=1, data_format="channels_last")
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 3)).astype("float32")
    ((path, one),) = record(block, x).items()
    assert path.endswith("encoder_0")
    assert (one.input_shape, one.maps.shape) == ((2, 4, 6, 8), (2, 16, 6, 6))
    tokens = np.random.default_rng(1).standard_normal((2, 4, 6, 8)).astype("float32")
    (attention,) = attention_maps(one.layer, tokens).values()
    joint = ops.convert_to_numpy(one.layer.query_key_value(one.layer.attention_norm(tokens)))
    query, key, _ = np.split(joint.reshape(2, 4, 6, 3, 4, 2), 3, axis=3)
    scores = np.einsum("bpqhd,bpkhd->bphqk", query[:, :, :, 0], key[:, :, :, 0]) / np.sqrt(2)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(attention, expected.reshape(2, 16, 6, 6), atol=1e-6)


def test_a_map_that_the_model_outputs():
    inputs = keras.Input((4, 4, 8))
    layer = CBAM(reduction=4, data_format="channels_last", name="cbam")
    outputs, (channel, position) = layer(inputs, return_attention_scores=True)
    model = keras.Model(inputs, [outputs, channel, position])
    x = np.random.default_rng(0).standard_normal((1, 4, 4, 8)).astype("float32")
    maps = attention_maps(model, x)
    assert list(maps) == ["cbam"]
    for one, other in zip(maps["cbam"], model(x)[1:], strict=True):
        np.testing.assert_array_equal(one, ops.convert_to_numpy(other))


class Plain(SEAttention):
    def call(self, x):
        return super().call(x)


class Passes(SEAttention):
    def call(self, x, return_attention_scores=False):
        return super().call(x, return_attention_scores)


@pytest.mark.parametrize("kind", [Plain, Passes])
def test_subclasses_that_call_their_parent(kind):
    layer = kind(reduction=2, data_format="channels_last", name="own")
    maps = attention_maps(layer, np.ones((1, 4, 4, 8), "float32"))
    assert {path: gate.shape for path, gate in maps.items()} == {"own": (1, 1, 1, 8)}


def compiler():
    """Return what users put around a `call`."""
    if keras.config.backend() == "torch":
        import torch

        return lambda call: torch.compile(call, backend="eager")
    if keras.config.backend() == "jax":
        import jax

        return jax.jit
    import tensorflow as tf

    return tf.function


@pytest.mark.every_backend
@pytest.mark.parametrize("built", [False, True])
def test_compiled_calls_say_so(built):
    """Within a compiled function there are no numbers to read; PyTorch's compiler gives them."""

    class Compiled(keras.Model):
        def __init__(self):
            super().__init__(name="compiled")
            self.attention = SEAttention(reduction=2, data_format="channels_last", name="attention")
            self.attention.build((None, None, None, 8))
            self.run = compiler()(self.attention)

        def call(self, x):
            return self.run(x)

    model, x = Compiled(), np.ones((1, 4, 4, 8), "float32")
    if built:
        model(x)
    if keras.config.backend() == "torch":
        (gate,) = attention_maps(model, x).values()
        np.testing.assert_allclose(gate, attention_maps(model.attention, x)["attention"], atol=1e-6)
        return
    with pytest.raises(ValueError, match=r"'compiled' has .* maps, .*attention.*`tf\.function`"):
        attention_maps(model, x)


# What is drawn.


class Known(TokenLayer):
    """A layer whose map, (B, heads, N, N), is given."""

    maps = (Attention(),)

    def __init__(self, attention, **kwargs):
        super().__init__(**kwargs)
        self.attention = attention

    def call(self, x, return_attention_scores=False):
        return self.result(x, ops.convert_to_tensor(self.attention), return_attention_scores)

    def compute_attention_shape(self, input_shape):
        return self.attention.shape


def attending(attention, rows, columns, channels=3):
    """Return a model on images whose one layer on tokens has a known map."""
    inputs = keras.Input((rows, columns, channels))
    x = keras.layers.Reshape((rows * columns, channels))(inputs)
    return keras.Model(inputs, Known(attention, name="known")(x))


def test_attention_over_the_image():
    attention = np.random.default_rng(0).random((1, 2, 12, 12)).astype("float32")
    image = np.random.default_rng(1).random((3, 4, 3)).astype("float32")
    figure = visualize(attending(attention, 3, 4), image, query=(1, 2), data_format="channels_last")
    (part,) = figure.subfigs
    assert part.get_suptitle() == ("known (Known)\nweight of each position for the query at (1, 2)")
    original, first, second, _ = part.axes
    assert [axes.get_title() for axes in (original, first, second)] == ["image", "head 0", "head 1"]
    for head, axes in enumerate((first, second)):
        drawn = axes.images[1].get_array()
        np.testing.assert_array_equal(drawn, attention[0, head, 6].reshape(3, 4))
        assert (
            [*axes.images[1].get_extent()]
            == [*axes.images[0].get_extent()]
            == [-0.5, 3.5, 2.5, -0.5]
        )
        assert axes.images[1].get_clim() == (attention[0, :, 6].min(), attention[0, :, 6].max())
    for axes in (original, first, second):
        (frame,) = axes.patches
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((1.5, 0.5), 1, 1)

    figure = visualize(
        attending(attention, 3, 4), image, head=1, query=11, data_format="channels_last"
    )
    _, only, _ = figure.subfigs[0].axes
    np.testing.assert_array_equal(only.images[1].get_array(), attention[0, 1, 11].reshape(3, 4))
    assert only.patches[0].get_xy() == (2.5, 1.5)


def test_many_heads_are_cut_and_said():
    attention = np.ones((1, 15, 4, 4), "float32")
    figure = visualize(attending(attention, 2, 2), np.ones((2, 2, 3)), data_format="channels_last")
    assert "(12 of 15)" in figure.subfigs[0].get_suptitle()
    assert len(figure.subfigs[0].axes) == 1 + 12 + 1


def test_bars_and_matrices():
    gate = np.linspace(0.2, 0.9, 8).astype("float32")
    one = Recorded(
        SEAttention(data_format="channels_last"), (1, 4, 4, 8), True, gate.reshape(1, 1, 1, 8)
    )
    drawing = describe(one, 0, (4, 4))
    assert (drawing.kind, drawing.columns, drawing.what) == (
        "bars",
        "channel",
        "gate of each channel",
    )
    np.testing.assert_array_equal(drawing.panels[""], gate)

    image = np.random.default_rng(0).standard_normal((4, 4, 8)).astype("float32")
    layer = SEAttention(reduction=2, data_format="channels_last", name="se")
    (axes,) = visualize(layer, image, data_format="channels_last").axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, attention_maps(layer, image[None])["se"][0, 0, 0])
    assert axes.get_ylim() == (0, 1)
    assert axes.get_xlabel() == "channel"
    layer = SEAttention(reduction=2, data_format="channels_last", name="se")
    (axes,) = visualize(layer, image[..., :2], data_format="channels_last").axes
    assert all(tick == round(tick) for tick in axes.get_xticks())  # the number of a channel


def test_branches_and_matrices():
    image = np.random.default_rng(0).standard_normal((4, 5, 8)).astype("float32")
    options = {"data_format": "channels_last"}
    (part,) = visualize(SKAttention(min_width=4, name="sk", **options), image, **options).subfigs
    (axes,) = part.axes
    weights = attention_maps(SKAttention(min_width=4, name="sk", **options), image[None])
    assert [text.get_text() for text in axes.get_legend().texts] == ["branch 0", "branch 1"]
    heights = np.array([bar.get_height() for bar in axes.patches]).reshape(2, 8)
    np.testing.assert_allclose(heights.sum(0), 1, rtol=1e-6)
    assert weights["sk"].shape == (1, 2, 8)

    layer = ChannelSelfAttention(name="channels", **options)
    (part,) = visualize(layer, image, **options).subfigs
    axes, _ = part.axes
    assert part.get_suptitle().endswith("weight of each channel for each channel")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("channel", "channel")
    expected = attention_maps(layer, image[None])["channels"][0, 0]
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)


WINDOWED = [
    (HaloAttention(block_size=2, halo_size=1, num_heads=2), 2, 1, 2, 4),
    (HaloAttention(block_size=3, halo_size=2, num_heads=2), 3, 2, 3, 7),
    (OutlookAttention(2, kernel_size=3), 1, 1, 3, 3),
    (OutlookAttention(2, kernel_size=5, strides=2), 2, 2, 5, 5),
    (OutlookAttention(2, kernel_size=7), 1, 3, 7, 7),
    (CoTAttention(kernel_size=5), 1, 2, 1, 5),
]
"""Layer, distance of its windows, how far they reach beyond, sides of the queries and the keys."""


@pytest.mark.parametrize(("layer", "step", "margin", "queries", "keys"), WINDOWED)
def test_windows_lie_where_they_are(layer, step, margin, queries, keys):
    """Let every weight be the place of its key, then of its query, and look where it is drawn."""
    height, width = 6, 12
    rows, columns = -(-height // step), -(-width // step)
    corner = 100 * np.arange(rows)[:, None] * step + np.arange(columns) * step  # (rows, columns)
    places = 100 * np.arange(keys)[:, None] + np.arange(keys) - 101 * margin  # (keys, keys)
    of_keys = corner.reshape(-1, 1, 1) + places.reshape(1, 1, -1) + np.zeros((1, queries**2, 1))
    places = 100 * np.arange(queries)[:, None] + np.arange(queries)
    places -= 101 * margin if queries == keys else 0
    of_queries = corner.reshape(-1, 1, 1) + places.reshape(1, -1, 1) + np.zeros((1, 1, keys**2))
    maps = tuple(np.stack([x, x])[None].astype("float32") for x in (of_keys, of_queries))
    layer.data_format = "channels_last"
    one, other = (Recorded(layer, (1, height, width, 8), True, each) for each in maps)
    everywhere = 100 * np.arange(height)[:, None] + np.arange(width)
    for row in range(height):
        for column in range(width):
            drawing = describe(one, 0, (2 * height, 2 * width), query=(2 * row, 2 * column + 1))
            assert list(drawing.panels) == ["head 0", "head 1"]
            assert drawing.frame == ((row, column), (height, width))
            drawn = drawing.panels["head 1"]
            inside = ~np.isnan(drawn)
            np.testing.assert_array_equal(drawn[inside], everywhere[inside])
            assert inside[row, column]
            assert inside.sum() <= keys**2
            same = describe(one, 0, (height, width), query=row * width + column)
            np.testing.assert_array_equal(same.panels["head 1"], drawn)
            drawn = describe(other, 0, (height, width), query=(row, column)).panels["head 0"]
            np.testing.assert_array_equal(drawn[inside], 100 * row + column)


def test_strided_queries_stand_for_the_pixels_that_they_skip():
    layer = HaloAttention(6, halo_size=1, num_heads=2, strides=2, data_format="channels_last")
    corner = 6 * np.arange(2)
    places = 100 * np.arange(0, 6, 2)[:, None] + np.arange(0, 6, 2)
    of_queries = corner.reshape(-1, 1, 1) + places.reshape(1, -1, 1) + np.zeros((1, 1, 8**2))
    attention = np.stack([of_queries, of_queries])[None].astype("float32")
    one = Recorded(layer, (1, 6, 12, 8), True, attention)
    for row in range(6):
        for column in range(12):
            drawn = describe(one, 0, (6, 12), query=(row, column)).panels["head 0"]
            expected = 100 * (row // 2 * 2) + column // 2 * 2
            np.testing.assert_array_equal(drawn[~np.isnan(drawn)], expected)


def test_windows_of_distant_positions_lie_where_they_are():
    layer = CrossFormerAttention(2, interval=3, num_heads=2, data_format="channels_last")
    layer.build((None, 7, 12, 32))
    (_, heads, groups, *_), size = layer.compute_attention_shape((1, 7, 12, 32)), (7, 12)
    places = np.zeros((1, heads, groups, 4, 4), "float32")
    for row, column in np.ndindex(12, 12):  # of the padding too
        group = (row // 6 * 2 + column // 6) * 9 + row % 3 * 3 + column % 3
        places[..., group, :, row % 6 // 3 * 2 + column % 6 // 3] = 100 * row + column
    one = Recorded(layer, (1, *size, 32), True, places)
    for row, column in np.ndindex(*size):
        drawn = describe(one, 0, size, query=(row, column)).panels["head 1"]
        for place in np.ndindex(*size):
            apart = abs(place[0] - row), abs(place[1] - column)
            block = place[0] // 6 == row // 6 and place[1] // 6 == column // 6
            inside = block and apart[0] % 3 == apart[1] % 3 == 0
            assert inside == (not np.isnan(drawn[place]))
            assert not inside or drawn[place] == 100 * place[0] + place[1]


def test_lines_lie_where_they_are():
    """Let every weight be the place of its key: along the column, then along the row."""
    height, width = 3, 5
    everywhere = 100.0 * np.arange(height)[:, None] + np.arange(width)
    columns = np.broadcast_to(everywhere.T[:, None], (width, height, height))[None, None]
    rows = np.broadcast_to(everywhere[:, None], (height, width, width))[None, None]
    layer = AxialAttention(num_heads=1, data_format="channels_last")
    one = Recorded(layer, (1, height, width, 8), True, (columns, rows))
    for row, column in np.ndindex(height, width):
        for index, line in ((0, (slice(None), column)), (1, (row, slice(None)))):
            drawing = describe(one, index, (2 * height, 2 * width), query=(2 * row, 2 * column))
            assert drawing.frame == ((row, column), (height, width))
            inside = np.zeros((height, width), bool)
            inside[line] = True
            expected = np.where(inside, everywhere, np.nan)
            np.testing.assert_array_equal(drawing.panels[""], expected)


def test_shifted_windows_lie_where_they_are():
    layer = WindowAttention(3, shift_size=1, num_heads=2, data_format="channels_last")
    size = 6, 9
    layer.build((None, *size, 8))
    rolled = np.roll(np.arange(54, dtype="float32").reshape(size), (-1, -1), (0, 1))
    keys = rolled.reshape(2, 3, 3, 3).transpose(0, 2, 1, 3).reshape(6, 1, 9)
    places = np.broadcast_to(keys, (1, 2, 6, 9, 9))
    one = Recorded(layer, (1, *size, 8), True, places)
    everywhere = np.arange(54).reshape(size)
    for row, column in np.ndindex(*size):
        drawing = describe(one, 0, size, query=(row, column))
        assert drawing.frame == ((row, column), size)
        drawn = drawing.panels["head 1"]
        inside = ~np.isnan(drawn)
        np.testing.assert_array_equal(drawn[inside], everywhere[inside])
        assert inside.sum() == 9
        assert inside[row, column]


@pytest.mark.parametrize("dilation", [1, 2])
def test_nearest_positions_lie_where_they_are(dilation):
    """Let every weight be the place of its key; the window is moved inside at the border."""
    size = height, width = 6, 9
    layer = NeighborhoodAttention(3, dilation=dilation, num_heads=1, data_format="channels_last")
    everywhere = 100.0 * np.arange(height)[:, None] + np.arange(width)
    rows, columns = layer.nearest_positions(*size)
    places = [everywhere[np.ix_(row, column)].reshape(-1) for row in rows for column in columns]
    one = Recorded(layer, (1, *size, 8), True, np.array(places)[None, None])
    for row, column in np.ndindex(*size):
        drawing = describe(one, 0, (2 * height, 2 * width), query=(2 * row, 2 * column))
        assert drawing.frame == ((row, column), size)
        drawn = drawing.panels[""]
        inside = ~np.isnan(drawn)
        np.testing.assert_array_equal(drawn[inside], everywhere[inside])
        assert inside.sum() == 9
        assert inside[row, column]
        for places, at in zip(np.nonzero(inside), (row, column), strict=True):
            assert not ((places - at) % dilation).any()
            assert np.abs(places - at).max() <= 2 * dilation


def test_crosses_lie_where_they_are():
    """Let every weight be the place of its key; the map of a later pass is drawn like the first."""
    height, width = 3, 5
    everywhere = 100.0 * np.arange(height)[:, None] + np.arange(width)
    columns = np.broadcast_to(everywhere.T, (height, width, height))
    rows = np.broadcast_to(everywhere[:, None], (height, width, width))
    crosses = np.concatenate([columns, rows], axis=-1).reshape(1, 1, height * width, -1)
    layer = CrissCrossAttention(data_format="channels_last")
    one = Recorded(layer, (1, height, width, 8), True, (crosses, crosses))
    for row, column in np.ndindex(height, width):
        drawing = describe(one, 1, (2 * height, 2 * width), query=(2 * row, 2 * column + 1))
        assert drawing.frame == ((row, column), (height, width))
        (drawn,) = drawing.panels.values()
        inside = ~np.isnan(drawn)
        np.testing.assert_array_equal(drawn[inside], everywhere[inside])
        assert inside[row].all()
        assert inside[:, column].all()
        assert inside.sum() == height + width - 1
        same = describe(one, 1, (height, width), query=row * width + column)
        np.testing.assert_array_equal(same.panels[""], drawn)


def test_channels_first_is_drawn_alike():
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 8)).astype("float32")
    for make in (CBAM, CoordinateAttention, SpatialGroupEnhance):
        options = {"groups": 4} if make is SpatialGroupEnhance else {"reduction": 2}
        last = make(data_format="channels_last", **options)
        first = make(data_format="channels_first", **options)
        (expected,) = record(last, x).values()
        first.build((None, 8, None, None))
        first.set_weights(last.get_weights())
        (found,) = record(first, x.transpose(0, 3, 1, 2)).values()
        for i in range(len(expected.each)):
            one, other = (describe(each, i, (4, 6)) for each in (expected, found))
            assert (one.kind, one.what) == (other.kind, other.what)
            np.testing.assert_allclose(one.panels[""], other.panels[""], atol=1e-6)
    image = x[0].transpose(2, 0, 1)
    figure = visualize(first, image, data_format="channels_first")
    assert figure.axes[0].images[0].get_array().shape == (4, 6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_image_is_drawn_from_its_darkest_to_its_brightest_value(channels):
    image = np.random.default_rng(0).uniform(2, 5, (3, 4, channels)).astype("float32")
    attention = np.random.default_rng(1).random((1, 1, 12, 12)).astype("float32")
    model = attending(attention, 3, 4, channels)
    part, over, _ = visualize(model, image, query=(0, 0), data_format="channels_last").axes

    def stretched(x):
        return (x - x.min()) / (x.max() - x.min())

    grey = stretched(image.mean(axis=-1))
    colour = stretched(image) if channels == 3 else grey
    for axes, expected in ((part, colour), (over, grey)):
        np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-6)
        assert axes.images[0].get_clim() == (0, 1)


def test_size_of_the_figure():
    """Rows of panels as high as the image, after the width of a panel; matrices are square."""
    attention = np.ones((1, 9, 8, 8), "float32")
    image = np.ones((2, 4, 3))
    figures = [
        visualize(attending(attention[:, :heads], 2, 4), image, data_format="channels_last")
        for heads in (1, 5, 9)
    ]
    width, height = figures[0].get_size_inches()
    panel = (width - 0.6) / 2
    assert panel == pytest.approx(3.4)  # few panels fill the width
    assert height == pytest.approx(panel / 2 + 0.2 + 0.5)
    for figure, columns, rows in zip(figures[1:], (6, 7), (1, 2), strict=True):
        width, height = figure.get_size_inches()
        panel = (width - 0.6) / columns
        assert panel == pytest.approx(1.7)
        assert height == pytest.approx(rows * (panel / 2 + 0.2) + 0.5)


def test_all_matrices_and_all_bars_have_one_scale():
    """From the smallest to the largest weight of all heads."""
    scales = np.array([1, 3, 2], "float32").reshape(1, 3, 1, 1)
    attention = scales * np.random.default_rng(0).random((1, 3, 6, 6)).astype("float32")
    image = np.ones((10, 10, 3))
    inputs = keras.Input((10, 10, 3))
    tokens = keras.layers.Reshape((6, -1))(inputs)
    figure = visualize(
        keras.Model(inputs, Known(attention, name="known")(tokens)),
        image,
        data_format="channels_last",
    )
    drawn = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(drawn) >= 3
    for one, head in zip(drawn, attention[0], strict=False):
        np.testing.assert_array_equal(one.get_array(), head)
        assert one.get_clim() == (attention.min(), attention.max())


def test_a_map_of_an_unknown_kind_is_a_matrix():
    array = np.random.default_rng(0).random((1, 2, 3, 4, 5)).astype("float32")
    one = Recorded(Known(array), (1, 4, 6, 8), True, array)
    drawing = describe(one, 0, (4, 6))
    assert (drawing.kind, drawing.what) == ("matrix", "map")
    np.testing.assert_array_equal(drawing.panels[""], array.reshape(6 * 4, 5))


def test_gates_that_differ_by_position():
    gates = np.random.default_rng(0).random((1, 4, 6, 8)).astype("float32")
    layer = BAM(data_format="channels_last")
    maps = (gates, gates[:, :, :1], gates[:, :1], gates[..., :2])
    wholes = [describe(Recorded(layer, (1, 4, 6, 8), True, one), 0, (4, 6)) for one in maps]
    assert [drawing.what for drawing in wholes] == [
        "gate of each position, mean over the channels",
        "gate of each row, mean over the channels",
        "gate of each column, mean over the channels",
        "gate of each position, mean over the groups",
    ]
    np.testing.assert_allclose(wholes[0].panels[""], gates[0].mean(-1), rtol=1e-6)
    np.testing.assert_allclose(
        wholes[1].panels[""], np.tile(gates[0, :, :1].mean(-1), (1, 6)), rtol=1e-6
    )
    third = describe(Recorded(layer, (1, 4, 6, 8), True, gates), 0, (4, 6), head=3)
    assert third.what == "gate of each position, channel 3"
    np.testing.assert_array_equal(third.panels[""], gates[0, ..., 3])


@pytest.mark.parametrize("size", [(36,), (4, 3, 3)], ids=["signal", "volume"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gates_of_signals_and_volumes(size, data_format):
    inputs, shape = keras.Input((6, 6, 8)), (*size, 8)
    shape = shape if data_format == "channels_last" else (8, *size)
    layer = CBAM(2, kernel_size=3, data_format=data_format, name="cbam")
    model = keras.Model(inputs, layer(keras.layers.Reshape(shape)(inputs)))
    (one,) = record(model, np.random.default_rng(0).uniform(size=(1, 6, 6, 8))).values()
    channel, position = (describe(one, index, (6, 6)) for index in (0, 1))
    assert (channel.kind, channel.columns) == ("bars", "channel")
    np.testing.assert_array_equal(channel.panels[""], one.maps[0].ravel())
    assert (position.kind, position.rows) == ("matrix", "position")
    np.testing.assert_array_equal(position.panels[""], one.maps[1].reshape(36, 1))


def test_a_class_token_is_no_position():
    attention = np.random.default_rng(0).random((1, 2, 13, 13)).astype("float32")
    one = Recorded(Known(attention), (1, 13, 8), True, attention)
    drawing = describe(one, 0, (30, 40), query=(12, 11))  # cell (1, 1) of 3 x 4: token 1 + 5
    np.testing.assert_array_equal(drawing.panels["head 0"], attention[0, 0, 6, 1:].reshape(3, 4))
    assert drawing.frame == ((1, 1), (3, 4))
    drawing = describe(one, 0, (30, 40), query=0)
    np.testing.assert_array_equal(drawing.panels["head 1"], attention[0, 1, 0, 1:].reshape(3, 4))
    assert drawing.frame is None
    assert describe(one, 0, (10, 10)).kind == "matrix"  # 12 or 13 tokens make no square


def test_the_middle_of_the_image_asks_unless_a_query_is_given():
    attention = np.random.default_rng(0).random((1, 1, 24, 24)).astype("float32")
    drawing = describe(Recorded(Known(attention), (1, 24, 8), True, attention), 0, (4, 6))
    assert drawing.what == "weight of each position for the query at (2, 3)"
    assert drawing.frame == ((2, 3), (4, 6))
    np.testing.assert_array_equal(drawing.panels[""], attention[0, 0, 15].reshape(4, 6))


def test_the_grid_of_a_layer_on_images_is_that_of_its_input():
    """Also where the picture has other proportions: those count for tokens."""
    attention = np.random.default_rng(0).random((1, 1, 16, 16)).astype("float32")
    for data_format, shape in (("channels_last", (1, 2, 8, 5)), ("channels_first", (1, 5, 2, 8))):
        layer = PositionAttention(1, data_format=data_format)
        drawing = describe(Recorded(layer, shape, True, attention), 0, (40, 40), query=0)
        np.testing.assert_array_equal(drawing.panels[""], attention[0, 0, 0].reshape(2, 8))
    drawing = describe(
        Recorded(Known(attention), (1, 16, 5), True, attention), 0, (40, 40), query=0
    )
    np.testing.assert_array_equal(drawing.panels[""], attention[0, 0, 0].reshape(4, 4))


def test_keys_of_another_input_are_no_positions():
    attention = np.random.default_rng(0).random((1, 1, 12, 12)).astype("float32")
    one = Recorded(Known(attention), (1, 12, 8), False, attention)
    drawing = describe(one, 0, (3, 4))
    assert drawing.what == "weight of each key, at each position"
    np.testing.assert_array_equal(drawing.panels["key 5"], attention[0, 0, :, 5].reshape(3, 4))
    drawing = describe(one, 0, (3, 4), query=(1, 1))
    assert (drawing.kind, drawing.columns) == ("bars", "key")
    np.testing.assert_array_equal(drawing.panels[""], attention[0, 0, 5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "atention"}, "must be one of 'attention', 'backbone/attention'.*Did you mean"),
        ({"query": (4, 0)}, "`query` must be .row, column. of a pixel of the image of 4 x 4"),
        ({"query": "left"}, "`query` must be .*'left'"),
        ({"image": np.ones((4, 4))}, r"`image` must be one image.*shape \(4, 4\)"),
        ({"image": np.ones((2, 4, 4, 8))}, "`image` must be one image"),
        ({"data_format": "first"}, "`data_format` must be"),
    ],
)
def test_bad_arguments(options, words):
    options = {"image": np.ones((4, 4, 8)), "data_format": "channels_last", **options}
    with pytest.raises(ValueError, match=words):
        visualize(small_model(), options.pop("image"), **options)


@pytest.mark.parametrize("options", [{"head": 2}, {"head": -1}, {"head": True}, {"query": 16}])
def test_no_such_head_or_query(options):
    model = attending(np.ones((1, 2, 16, 16), "float32"), 4, 4)
    with pytest.raises(ValueError, match=r"must be the number of one of the \d+ (heads|queries)"):
        visualize(model, np.ones((4, 4, 3)), data_format="channels_last", **options)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install"):
        visualize(small_model(), np.ones((4, 4, 8)), data_format="channels_last")


def test_public_names():
    assert attn_core.attention_maps is attention_maps
    assert attn_core.visualize is visualize
