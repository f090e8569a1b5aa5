"""Subclasses of every layer and network: what they were made of survives a file, and frozen parts.

Nothing here depends on the backend; the quickest one suffices.
"""

import keras
import numpy as np
import pytest
from attn_core import insert_attention, layers, models
from attn_core.layers._configuration import arguments
from cases import FIRST, each
from networks import RESIZED, TINY

RATE = {"dropout": 0.25}
"""Another value than the default where a layer has the argument, so that its loss would show."""


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def subclasses(parent, fixed: dict) -> dict[str, type]:
    """Return subclasses that pass arguments on, or fix some, in the ways that users write them."""

    class Named(parent):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)

    class Any(parent):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class Own(parent):
        def __init__(self, own, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.own = own

    class Fixed(parent):
        def __init__(self, **kwargs):
            super().__init__(**fixed, **kwargs)

    class FixedTwice(Any):
        def __init__(self, *args, own=3, **kwargs):
            super().__init__(*args, **fixed, **kwargs)
            self.own = own

    class Same(parent):
        """Without a constructor of its own."""

    return {kind.__name__: kind for kind in (Named, Any, Own, Fixed, FixedTwice, Same)}


def instances(parent, config: dict, **options):
    """Return the subclasses by name, and an instance of each with a configuration."""
    kinds = subclasses(parent, config)
    first, *others = config.items() if config else [None]
    by_position = (first[1],) if first and positional(parent, first[0]) else ()
    rest = dict(others) if by_position else config
    made = {
        "Named": ((), config),
        "Any": (by_position, rest),
        "Own": ((7, *by_position), rest),
        "Fixed": ((), {}),
        "FixedTwice": ((), {"own": 5}),
        "Same": (by_position, rest),
    }
    return kinds, [
        kinds[name](*args, **kwargs, **options, name=name.lower())
        for name, (args, kwargs) in made.items()
    ]


def positional(cls, name) -> bool:
    return name == cls.__init__.__code__.co_varnames[1] or arguments(cls.__init__)[0] == name


def values(one, names) -> dict:
    """Return arguments as the layer or network has them."""
    config = getattr(one, "_config", {})
    return {name: config[name] if name in config else getattr(one, name) for name in names}


@each(FIRST)
def test_layers(case, tmp_path):
    config = case.config | {name: RATE[name] for name in RATE if name in names_of(case.cls)}
    kinds, made = instances(case.cls, config)
    inputs = keras.Input(case.shape[1:])
    model = keras.Model(inputs, [layer(inputs) for layer in made])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=kinds)
    for layer in made:
        other = loaded.get_layer(layer.name)
        assert type(other) is type(layer)
        assert other.get_config() == layer.get_config()
        names = (*names_of(case.cls), *config)
        assert values(other, names) == values(layer, names)
        assert getattr(other, "own", None) == getattr(layer, "own", None)
        for name, value in config.items():
            assert getattr(layer, name) == (tuple(value) if isinstance(value, list) else value)
    x = case.draw()
    for one, two in zip(model(x), loaded(x), strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(two))


def names_of(cls) -> list[str]:
    """Return the arguments of a class, those of its parents included, that it has as attributes."""
    names = [n for kind in cls.__mro__ if "__init__" in vars(kind) for n in own_arguments(kind)]
    return [name for name in dict.fromkeys(names) if name not in ("name", "dtype")]


def own_arguments(kind) -> list[str]:
    ours = kind.__module__.startswith("attn_core")
    return arguments(vars(kind)["__init__"]) if ours else []


@pytest.mark.parametrize("name", TINY)
def test_networks(name, tmp_path):
    parent = getattr(models, name)
    kinds, made = instances(parent, {**TINY[name], "num_classes": 3, "drop_path": 0.1})
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    for model in made:
        if model.name == "own":  # a file holds the configuration of the others likewise
            model.save(tmp_path / "model.keras")
            loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=kinds)
            np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))
        else:
            loaded = copy(model)
        assert type(loaded) is type(model)
        assert loaded.get_config() == model.get_config()
        assert loaded._config == model._config
        assert model._config["drop_path"] == 0.1
        assert getattr(loaded, "own", None) == getattr(model, "own", None)


def test_a_data_format_that_a_subclass_fixes(tmp_path):
    """It is no argument of the subclass, so the configuration must not hold it."""
    from attn_core import CBAM

    class First(CBAM):
        def __init__(self, **kwargs):
            super().__init__(data_format="channels_first", **kwargs)

    layer = First(reduction=2)
    assert "data_format" not in layer.get_config()
    assert First.from_config(layer.get_config()).data_format == "channels_first"
    assert CBAM(data_format="channels_first").get_config()["data_format"] == "channels_first"
    assert CBAM().get_config()["data_format"] == keras.config.image_data_format()


# Frozen layers.


def frozen(owner) -> list[str]:
    return [variable.path for variable in owner.variables if not variable.trainable]


@pytest.mark.parametrize("name", TINY)
def test_frozen_networks(name, tmp_path):
    """A frozen network, and one of which parts are frozen, stay so through every copy."""
    arguments = {**TINY[name], "num_classes": 3}
    whole = getattr(models, name)(**arguments, trainable=False)
    assert not any(variable.trainable for variable in whole.variables)
    assert not any(variable.trainable for variable in copy(whole).variables)

    model = getattr(models, name)(**arguments)
    assert "trainable_layers" not in model.get_config()
    blocks = [layer for layer in model.layers if "block" in layer.name]
    blocks[0].trainable = False
    inner = next(layer for layer in blocks[-1]._layers if layer.trainable_variables)
    inner.trainable = False
    expected = frozen(model)
    assert 0 < len(expected) < len(model.variables)
    model.save(tmp_path / "model.keras")
    assert frozen(keras.saving.load_model(tmp_path / "model.keras")) == expected
    assert frozen(copy(model)) == expected
    assert frozen(keras.models.clone_model(model)) == expected
    if name in RESIZED:
        assert frozen(model.resized(RESIZED[name])) == expected


def copy(model):
    return type(model).from_config(model.get_config())


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.id)
def test_partly_frozen_layers(case, ending, tmp_path):
    """A layer of which one part is frozen stays so through files, clones and insertion."""
    layer = case.make(**({"data_format": "channels_last"} if case.is_image else {}))
    inputs = keras.Input(case.shape[1:])
    model = keras.Model(inputs, keras.layers.Identity(name="end")(layer(inputs)))
    parts = [one for one in layer._flatten_layers(include_self=False) if one.trainable_variables]
    if not parts or len(parts[-1].trainable_variables) == len(layer.trainable_variables):
        pytest.skip("it has no parts")
    parts[-1].trainable = False
    x, expected = case.draw(), [v.name for v in layer.variables if not v.trainable]
    output = keras.ops.convert_to_numpy(model(x))
    model.save(tmp_path / f"model.{ending}")
    reloaded = keras.saving.load_model(tmp_path / f"model.{ending}")
    inserted = insert_attention(model, keras.layers.Identity, "end")
    for twin in (reloaded, keras.models.clone_model(model), inserted):
        again = twin.get_layer(layer.name)
        assert [v.name for v in again.variables if not v.trainable] == expected
        assert again.get_config() == layer.get_config()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(reloaded(x)), output, atol=1e-6)


def test_the_head_of_a_frozen_network():
    model = models.GFNet(**TINY["GFNet"], num_classes=3, trainable=False)
    model.get_layer("head").trainable = True
    assert [v.path for v in copy(model).variables if v.trainable] == ["head/kernel", "head/bias"]


def test_fusing_keeps_frozen_layers():
    model = models.ParNet(**TINY["ParNet"], num_classes=3)
    model.get_layer("stem").trainable = False
    fused = model.fuse()
    assert not fused.get_layer("stem").trainable_variables
    assert fused.get_layer("last").trainable_variables


@pytest.mark.parametrize("name", TINY)
def test_blocks_made_frozen(name):
    """A block that is frozen before it is built has no weight that trains."""
    model = getattr(models, name)(**TINY[name])
    for layer in model.layers:
        if type(layer).build.__module__.startswith("attn_core.models"):
            again = type(layer).from_config({**layer.get_config(), "trainable": False})
            tensors = layer._inbound_nodes[0].arguments.keras_tensors
            again.build(*(tensor.shape for tensor in tensors))
            assert len(again.variables) == len(layer.variables)
            assert not [v.path for v in again.variables if v.trainable], layer.name


def test_a_subclass_may_expect_less():
    """An `input_spec` that a subclass sets in its `build` holds from then on."""

    class Small(layers.SEAttention):
        def build(self, input_shape):
            super().build(input_shape)
            self.input_spec = keras.layers.InputSpec(shape=(None, 4, 4, 8))

    layer = Small(reduction=2, data_format="channels_last")
    assert layer(np.ones((1, 4, 4, 8), "float32")).shape == (1, 4, 4, 8)
    with pytest.raises(ValueError, match="expected shape"):
        layer(np.ones((1, 5, 4, 8), "float32"))
