"""The arguments of the networks: their checks, and how a constructor checks and stores them."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from attn_core import _checks as checks
from attn_core._typing import KerasArguments
from attn_core.layers._configuration import arguments

P = ParamSpec("P")
Model = TypeVar("Model")
Config: TypeAlias = dict[str, Any]
Stages: TypeAlias = int | Callable[[Config], int] | None

KERAS = tuple(KerasArguments.__annotations__)
"""The arguments that every network passes on to Keras."""

MEANT = {
    "classes": "num_classes",
    "drop_rate": "dropout",
    "drop_path_rate": "drop_path",
    "img_size": "image_size",
    "in_chans": "in_channels",
    "input_shape": "in_channels` and, where the network has it, `image_size",
    "global_pool": "pooling",
}
"""Names that other libraries give to arguments, and ours."""

WEIGHTS = ("weights", "pretrained")
"""Names that other libraries give to the choice of weights, which no constructor here has."""


def height_and_width(owner: Any, name: str, value: Any) -> tuple[int, ...]:
    """Check that an argument is one length, or a pair of lengths; return a pair."""
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    return checks.sequence(owner, name, pair, checks.integer, 2)


CHECKS: dict[str, checks.Check] = {
    "embed_dim": checks.integer,
    "depths": checks.integer,
    "filters": checks.integer,
    "num_heads": checks.integer,
    "key_dim": checks.integer,
    "segment_dim": checks.integer,
    "sr_ratio": checks.integer,
    "downsample": checks.flag,
    "mlp_ratio": checks.positive,
    "expansion": checks.positive,
    "last_expansion": checks.integer,
    "se_ratio": partial(checks.number, minimum=0.0),
    "stem_width": checks.integer,
    "patch_size": checks.integer,
    "image_size": height_and_width,
    "kernel_size": checks.odd,
    "strides": checks.integer,
    "layer_scale": partial(checks.optional, checks.number),
    "qkv_bias": checks.flag,
    "apply_transform": checks.flag,
    "class_blocks": partial(checks.integer, minimum=0),
    "dense_head": checks.flag,
    "fused": checks.flag,
    "in_channels": checks.integer,
    "num_classes": checks.integer,
    "include_top": checks.flag,
    "pooling": partial(checks.choice, choices=(None, "avg", "max")),
    "dropout": checks.rate,
    "drop_path": checks.rate,
}
"""The check of each argument, or of each entry if the argument has one for each stage."""


def integers(count: int) -> checks.Check:
    """Return the check of a tuple of `count` integers."""
    return partial(checks.sequence, check=checks.integer, length=count)


def one_or_pair(check: checks.Check) -> checks.Check:
    """Return the check of one value, or a pair of them."""
    return partial(checks.one_or_pair, check=check)


def checked(
    *, per_stage: tuple[str, ...] = (), stages: Stages = None, **own: checks.Check
) -> Callable[[Callable[Concatenate[Model, P], None]], Callable[Concatenate[Model, P], None]]:
    """Make a network's constructor check its arguments, and store them as its configuration.

    The constructor receives the checked arguments. For example, if the user gave one value for all
    stages, it receives a tuple with one entry for each stage.

    Args:
        per_stage: Names of the arguments that are one value, or one for each stage.
        stages: The number of stages, or a function of the other arguments that returns it.
            Default: the length of the first tuple among the arguments of `per_stage`.
        **own: Checks that only this network has; they replace those of `CHECKS`.
    """

    def decorate(
        init: Callable[Concatenate[Model, P], None],
    ) -> Callable[Concatenate[Model, P], None]:
        signature = inspect.signature(init)
        names = arguments(init)
        rules = {name: own.get(name, CHECKS.get(name)) for name in names}

        @wraps(init)
        def construct(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> None:
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}.") from None
            bound.apply_defaults()
            given = {name: bound.arguments[name] for name in names}
            options = bound.arguments["kwargs"]
            _refuse_unknown(self, options, (*names, *KERAS))
            config = {
                name: rules[name](self, name, given[name])
                for name in names
                if name not in per_stage
            }
            staged = {name: given[name] for name in per_stage}
            count = _count(staged, config, stages)
            for name, value in staged.items():
                config[name] = checks.per_stage(self, name, value, count, rules[name])
            # A read-only view: Keras would track the contents of a dict, and save them twice.
            self._config = MappingProxyType({name: config[name] for name in names})
            init(self, **config, **options)

        # Keras inspects the constructor too, but does not follow `wraps`.
        construct.__signature__ = signature  # type: ignore[attr-defined]
        return construct

    return decorate


def _count(staged: Config, config: Config, stages: Stages) -> int:
    if stages is None:
        tuples = (value for value in staged.values() if isinstance(value, (list, tuple)))
        return next((len(value) for value in tuples), 1)
    return stages(config) if callable(stages) else stages


def _refuse_unknown(owner: Any, options: Config, known: tuple[str, ...]) -> None:
    """Raise an error that suggests the most similar argument; Keras would ignore an unknown one."""
    for name, value in options.items():
        if name not in KERAS:
            hint = checks.nearest(name, known)
            if name in MEANT:
                hint = f"did you mean `{MEANT[name]}`?"
            if get_close_matches(name, (*known, *WEIGHTS), n=1) in ([one] for one in WEIGHTS):
                hint = "the authors' weights are loaded by `load_torch_weights(network, file)`."
            elif MEANT.get(name, name) == "image_size" and "image_size" not in known:
                hint = "the network takes images of any size."
            raise checks.error(owner, f"there is no argument `{name}`; {hint}", f"{name}={value!r}")
