"""What a contributor supplies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


def _call(module: torch.nn.Module, *inputs: torch.Tensor | None) -> torch.Tensor:
    return module(*inputs)


@dataclass(frozen=True)
class Source:
    """A module of PyTorch, and how our layer is to give the same numbers.

    Attributes:
        module: The authors' module. It is copied, not changed.
        layer: Class name of our layer.
        inputs: What the layer is called on, by the names of its arguments, in their order. Images,
            `(B, H, W, C)`, reach the module as `(B, C, H, W)`, and come back likewise.
        reference: Where the module comes from: repository, commit, path, class, arguments.
        config: Constructor arguments of the layer.
        call: Further arguments of its call.
        forward: Runs the module on the inputs, where `module(*inputs)` does not serve.
        without_effect: Weights that cannot change the output, such as a number that is added to
            every score of a softmax.
        atol: Largest difference allowed to our layer's output; ten times that to its gradient.
        number: Number of the mechanism.
        note: What a reader of the file should know.
    """

    module: torch.nn.Module
    layer: str
    inputs: Mapping[str, torch.Tensor]
    reference: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    forward: Callable[..., torch.Tensor] = _call
    without_effect: tuple[str, ...] = ()
    atol: float = 2e-5
    number: int = 0
    note: str = ""
