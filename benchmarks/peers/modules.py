"""The peers as a user would build them, and how each receives an image, channels last or first."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from benchmarks.peers.cases import Case

CALLS: dict[str, Callable] = {
    "as it is": lambda module, x: module(x),
    "channels first": lambda module, x: module(x),
    "self-attention": lambda module, x: module(x, x, x)[0],
    "windows": lambda module, x: in_windows(module, x),
}
"""How a module of PyTorch receives its input."""


def in_windows(module: Any, x: Any) -> Any:
    """Return what Swin's network makes of a map with its attention: cut, attend, join."""
    swin = import_module("timm.models.swin_transformer")
    windows = swin.window_partition(x, module.window_size)
    attended = module(windows.flatten(1, 2)).view_as(windows)
    return swin.window_reverse(attended, module.window_size, *x.shape[1:3])


def relative_attention(**given: Any) -> Any:
    positions = partial(import_module("timm.layers").RelPosBias, window_size=(14, 14))
    return import_module("timm.models.maxxvit").Attention2d(rel_pos_cls=positions, **given)


def mobilevit_block(kind: str, **given: Any) -> Any:
    byobnet = import_module("timm.models.byobnet")
    settings = byobnet.ByoModelCfg(blocks=(), act_layer="silu", norm_layer="batchnorm2d")
    block = getattr(import_module("timm.models.mobilevit"), kind)
    return block(layers=byobnet.get_layer_fns(settings), **given)


def split_attention(**given: Any) -> Any:
    normalization = import_module("torch.nn").BatchNorm2d
    return import_module("timm.layers").SplitAttn(norm_layer=normalization, **given)


BUILDERS: dict[str, Callable] = {
    "timm.layers.SplitAttn": split_attention,
    "timm.models.maxxvit.Attention2d": relative_attention,
    "timm.models.mobilevit.MobileVitBlock": partial(mobilevit_block, "MobileVitBlock"),
    "timm.models.mobilevit.MobileVitV2Block": partial(mobilevit_block, "MobileVitV2Block"),
}
"""How to build the peers that need objects of their library as arguments."""


RENAMED = {"timm.layers.Attention": {"qkv.": "in_proj_", "proj.": "out_proj."}}
"""How the weights of some peers begin in PyTorch's own module, whose names our layer knows."""


def state_dict(case: Case, module: Any) -> dict[str, Any]:
    """Return the weights of a peer, by the names that our layer knows."""
    found = module.state_dict()
    for ours, theirs in RENAMED.get(case.peer, {}).items():
        found = {
            theirs + key.removeprefix(ours) if key.startswith(ours) else key: value
            for key, value in found.items()
        }
    return found


def received(case: Case, image: Any) -> Any:
    """Return a tensor as the peer receives it."""
    return image.permute(0, 3, 1, 2) if case.call == "channels first" else image


def find(peer: str) -> Any:
    """Return the class that a dotted name stands for."""
    module, _, name = peer.rpartition(".")
    return getattr(import_module(module), name)


def build(case: Case) -> Any:
    """Return the peer of a case."""
    if case.library == "timm":
        # timm imports torchvision, whose operators for detection a CPU build of PyTorch can lack.
        sys.modules.setdefault("torchvision._meta_registrations", ModuleType("unused"))
    return BUILDERS.get(case.peer, find(case.peer))(**case.peer_arguments)
