"""What the networks share: the graph, the configuration, the variants, and resizing."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, Unpack

import keras
import numpy as np

from attn_core import _checks as checks
from attn_core._typing import KerasArguments, Shape, Tensor
from attn_core._weights.entries import Schemes
from attn_core._weights.plain import check_plain
from attn_core.layers._base import stored_policy
from attn_core.layers._configuration import Configured, without_functions
from attn_core.layers._normalization import LayerNormalization
from attn_core.layers._trainable import set_trainable_flags, trainable_flags
from attn_core.models._preprocess import Preprocess

Layer = TypeVar("Layer", bound=keras.layers.Layer)


class Graph:
    """A network during its construction, from the images to the output.

    One line creates a layer, names it and connects it:

        x = net.add(Conv2D, 64, 7, strides=2, name="stem_conv", torch="conv1")(x)

    Args:
        shape: Shape of the images, without the batch.
        **options: Keras' arguments of the network; all layers get its `dtype`.

    Attributes:
        images: The `keras.Input`.
        torch_names: Layers and variables under the authors' names, as in `_weights.entries`.
        timm_names: Layers under timm's names, where these differ.
        stages: The feature map of each stage, finest first; the last one is the output of
            `include_top=False`.
        options: Keras' arguments of the network.
    """

    def __init__(self, shape: Shape, **options: Unpack[KerasArguments]) -> None:
        self.images: Tensor = keras.Input(shape)
        self.torch_names: dict[str, Any] = {}
        self.timm_names: dict[str, Any] = {}
        self.stages: list[Tensor] = []
        self.options = options

    def add(
        self,
        kind: Callable[..., Layer],
        *arguments: Any,
        name: str,
        torch: str = "",
        timm: str = "",
        **options: Any,
    ) -> Layer:
        """Return a new layer, to be called on its input tensor.

        Args:
            kind: Class of the layer, or a function that returns a layer.
            *arguments: Arguments of the class.
            name: The layer's name.
            torch: The authors' name of the layer; empty for a layer without weights.
            timm: timm's name of the layer, for networks with checkpoints of both.
            **options: Further arguments of the class.
        """
        layer = kind(*arguments, name=name, dtype=self.options.get("dtype"), **options)
        if torch:
            self.torch_names[torch] = layer
        if timm:
            self.timm_names[timm] = layer
        return layer

    def norm(self, x: Tensor, epsilon: float) -> Tensor:
        """Return the layer norm of the last feature map."""
        norm = LayerNormalization
        return self.add(norm, epsilon=epsilon, name="norm", torch="norm")(x)

    def pool(self, x: Tensor, pooling: str = "avg") -> Tensor:
        """Return the mean over the positions of an image, or with "max" the maximum."""
        kinds = {
            "avg": keras.layers.GlobalAveragePooling2D,
            "max": keras.layers.GlobalMaxPooling2D,
        }
        return self.add(kinds[pooling], name="pool", data_format="channels_last")(x)

    def classify(
        self, x: Tensor, num_classes: int, *, dropout: float | None = None, **names: str
    ) -> Tensor:
        """Return the logits of pooled images, after dropout if a rate is given."""
        if dropout is not None:
            x = self.add(keras.layers.Dropout, dropout, name="head_dropout")(x)
        return self.add(keras.layers.Dense, num_classes, name="head", **names)(x)


class AttentionModel(Configured, keras.Model):
    """Base of the networks: functional models with a table of their published variants.

    The `__init__` of a subclass is decorated with `checked`. It connects the layers of a `Graph`,
    and ends with `self.finish(...)`, which turns the graph into the model.
    """

    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Constructor arguments of each published variant, by its published name."""

    TOP: ClassVar[tuple[str, ...]] = ("head",)
    """The names in PyTorch of what only `include_top=True` has."""

    PREPROCESS: ClassVar[dict[str, Preprocess]] = {}
    """What the published checkpoint of a variant, that of timm or of the authors, expects of its
    images."""

    OTHERS: ClassVar[dict[str, str]] = {}
    """Parts of names that only checkpoints of other networks have, and what these networks are."""

    preprocess: Preprocess | None = None
    """What the checkpoint expects of its images: the published one of a variant, or what was set.

    It is kept in `.keras` files, not in `.weights.h5` files. It is `None` where it is not known.
    """

    _config: Mapping[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        """Register a network of this package by its plain name, too: `.h5` files have no other."""
        super().__init_subclass__(**options)
        if cls.__module__.startswith("attn_core."):
            keras.saving.get_custom_objects().setdefault(cls.__name__, cls)

    @classmethod
    def list_variants(cls) -> list[str]:
        """Return the names of the published variants."""
        return list(cls.VARIANTS)

    @classmethod
    def from_variant(cls, name: str, /, **arguments: Any) -> Self:
        """Return a published variant.

        Args:
            name: One of `list_variants()`.
            **arguments: Constructor arguments that replace the variant's.

        Raises:
            ValueError: If there is no variant of that name.
        """
        if name not in cls.VARIANTS:
            raise ValueError(
                f"{cls.__name__}: `name` must be one of {', '.join(cls.VARIANTS)}. "
                f"Received: name={name!r}"
            )
        network = cls(**{**cls.VARIANTS[name], **arguments})
        if network.takes_colours:
            network.preprocess = network._for_its_size(cls.PREPROCESS.get(name))
        return network

    @property
    def takes_colours(self) -> bool:
        """Whether the images have the channels that `preprocess` returns."""
        return bool(self._config["in_channels"] == len(Preprocess.channels))

    def _for_its_size(self, preprocess: Preprocess | None) -> Preprocess | None:
        """Return a preparation of images with the size that this network was built for."""
        if preprocess is None or "image_size" not in self._config:
            return preprocess
        return replace(preprocess, size=self._config["image_size"])

    def finish(self, net: Graph, output: Tensor) -> None:
        """Make this object the functional model from the images of a graph to its output.

        Without a classifier, the output is the last feature map, pooled if that is asked for.
        """
        if pooling := self._config["pooling"]:
            if self._config["include_top"]:
                raise checks.error(
                    self, "`pooling` goes with `include_top=False`.", f"pooling={pooling!r}"
                )
            output = net.pool(output, pooling)
        options = dict(net.options)
        dtype = options.pop("dtype", None)
        super().__init__(inputs=net.images, outputs=output, **options)
        self.trainable = self.trainable  # Keras sets the flag before the model has layers
        if dtype is not None:
            self.dtype_policy = keras.dtype_policies.get(dtype)
        # Read-only views: Keras would track the contents of dicts, and save them twice.
        self._torch_names = MappingProxyType(net.torch_names)
        self._timm_names = MappingProxyType(net.timm_names)
        self._stages = tuple(net.stages)

    def feature_maps(self) -> keras.Model:
        """Return a model that outputs the feature maps of all stages, for dense prediction.

        It shares the layers of this model. Its output is a list of maps, `(B, H, W, C)` each,
        finest first; if the network has only one stage, it is the map itself. The last map is the
        output of the network with `include_top=False`.
        """
        return keras.Model(self.input, list(self._stages), name=f"{self.name}_feature_maps")

    def resized(self, image_size: int | tuple[int, int], **arguments: Any) -> Self:
        """Return this network for images of another size, with its weights.

        Weights that depend on the size are interpolated bilinearly. Position embeddings are
        interpolated between the centres of the patches. Global filters are interpolated over their
        frequencies with aligned corners, as the authors of GFNet recommend (GFNet issues 4 and 16).
        Biases of relative attention are interpolated over the offsets with aligned corners, as in
        the CoAtNet paper (A.1), and so are those of window attention whose windows change. All
        other weights are copied, and frozen layers stay frozen. Train the network for a short time
        at the new size: interpolation does not replace this training.

        Args:
            image_size: As for the constructor.
            **arguments: Constructor arguments that change no other weights: `name`, `dropout`,
                `window_size`, ...

        Raises:
            ValueError: If the network already accepts images of any size, is quantized, has LoRA,
                or has weights that cannot be interpolated.
        """
        if "image_size" not in self._config:
            raise checks.error(
                self, "it takes images of any size as it is.", f"image_size={image_size!r}"
            )
        check_plain(self, "resize it first, then call `quantize` or `enable_lora`")
        config = {**self.get_config(), "image_size": image_size, **arguments}
        model = type(self).from_config(config)
        model.preprocess = model._for_its_size(self.preprocess)
        lost = {}
        for ours, theirs in zip(model.variables, self.variables, strict=True):
            if ours.shape == theirs.shape:
                # A copy, because on JAX training donates the buffers of the variables.
                ours.assign(keras.ops.copy(theirs))
            else:
                lost[id(ours)] = ours.path
        for ours, theirs in zip(model._flatten_layers(), self._flatten_layers(), strict=True):
            if hasattr(ours, "resize_from"):
                ours.resize_from(theirs)
                for variable in ours.variables:
                    lost.pop(id(variable), None)
        if lost:
            raise checks.error(
                self,
                f"these weights depend on the image's size, and nothing resizes them: "
                f"{', '.join(lost.values())}.",
                f"image_size={image_size!r}",
            )
        return model

    @property
    def classifier(self) -> tuple[str, ...]:
        """The names in PyTorch of the layers that give the logits."""
        named = (*self._torch_names.items(), *self._timm_names.items())
        return tuple(name for name, layer in named if layer.name in ("head", "dense_head"))

    @property
    def first_layers(self) -> tuple[str, ...]:
        """The names in PyTorch of the layers that take the images."""
        named = (*self._torch_names.items(), *self._timm_names.items())
        return tuple(name for name, one in named if getattr(one, "input", None) is self.input)

    def torch_names(self) -> Mapping[str, Any]:
        """Return the layers under the authors' names, or in tables of the authors and of timm."""
        if not self._timm_names:
            return self._torch_names
        return Schemes(authors=self._torch_names, timm=self._timm_names)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, `preprocess`, and which layers alone are frozen.

        If the constructor of a subclass passes `*args` or `**kwargs` on, the configuration contains
        the arguments that the network received. The subclass's own arguments are read from the
        attributes of the same names.
        """
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(stored_policy(self)),
        }
        for name in self._argument_names():
            config[name] = getattr(self, name) if hasattr(self, name) else self._config[name]
        if flags := trainable_flags(self):
            config["trainable_layers"] = flags
        if self.preprocess is not None:
            config["preprocess"] = asdict(self.preprocess)
        return config

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the model that a configuration describes."""
        config = without_functions(config)
        flags = config.pop("trainable_layers", {})
        preprocess = config.pop("preprocess", None)
        model = cls(**config)
        set_trainable_flags(model, flags)
        model.preprocess = None if preprocess is None else Preprocess(**preprocess)
        return model


def drop_path_rates(rate: float, depths: int | tuple[int, ...]) -> list[list[float]]:
    """Return the rate of each block, by stage: it rises linearly from 0 to `rate`."""
    rates = np.linspace(0.0, rate, sum(depths)).tolist()
    ends = np.cumsum(depths)
    return [rates[end - depth : end] for end, depth in zip(ends, depths, strict=True)]
