"""The commands and their arguments."""

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attn_core import catalog
from attn_core._backend import BACKENDS, configured_backend, installed_backends
from attn_core._cli.files import TORCH_FILES, usable_folder
from attn_core._version import __version__

app = typer.Typer(no_args_is_help=True, help="Attention mechanisms as Keras 3 layers.")
notes = Console(stderr=True)

Family = StrEnum("Family", list(dict.fromkeys(m.family for m in catalog.MECHANISMS)))
Kind = StrEnum("Kind", ["image", "token", "signal", "volume"])
Scale = StrEnum("Scale", ["unit", "symmetric", "imagenet", "raw"])


def complete_mechanisms(incomplete: str) -> list[tuple[str, str]]:
    """Return the mechanisms that complete the last name in a comma-separated list."""
    before, comma, last = incomplete.rpartition(",")
    keys = [(m.key, m.name) for m in catalog.MECHANISMS]
    return [(before + comma + key, name) for key, name in keys if key.startswith(last)]


def complete_names(incomplete: str) -> list[str]:
    """Return the names of mechanisms and layers that complete what was typed."""
    names = [name for m in catalog.MECHANISMS for name in (m.key, *m.layers)]
    return [name for name in names if name.startswith(incomplete)]


Backend = Annotated[
    str | None,
    typer.Option(help=f"Keras backend: {', '.join(BACKENDS)}.", autocompletion=lambda: BACKENDS),
]


def use_backend(requested: str | None) -> str:
    """Choose the backend of this process before Keras is imported, and say which and why."""
    installed = installed_backends()
    if requested is not None and requested not in BACKENDS:
        raise typer.BadParameter(f"{requested!r} is not one of {', '.join(BACKENDS)}.")
    if requested is not None and requested not in installed:
        raise typer.BadParameter(
            f"{requested!r} is not installed ({', '.join(installed) or 'no backend'} is): "
            f'pip install "attn-core[{requested}]"'
        )
    if not installed:
        raise typer.BadParameter('no backend is installed: pip install "attn-core[jax]"')
    configured, origin = configured_backend()
    if requested is not None:
        chosen, why = requested, "as asked"
    elif configured in installed:
        chosen, why = configured, f"by {origin}"
    else:
        chosen, why = installed[0], f"{configured}, by {origin}, is not installed"
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no TensorFlow banners in our output
    notes.print(f"Backend: {chosen} ({why})", highlight=False)
    return chosen


@contextmanager
def needing_demo(command: str) -> Iterator[None]:
    """Say what to install if a library of the extra "demo" is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("sklearn", "matplotlib", "PIL"):
            raise
        notes.print(f'{command} needs {library}: pip install "attn-core[demo]"', style="red")
        raise typer.Exit(1) from None


def find_mechanism(name: str) -> catalog.Mechanism:
    """Return the mechanism of a name, or suggest the nearest names."""
    try:
        return catalog.get(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def find_mechanisms(names: str) -> list[catalog.Mechanism]:
    """Return the mechanisms of a comma-separated list, each once."""
    parts = (part.strip() for part in names.split(","))
    found = {mechanism.key: mechanism for mechanism in map(find_mechanism, filter(None, parts))}
    if not found:
        raise typer.BadParameter("name at least one mechanism, as in se,cbam.")
    return list(found.values())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"attn-core {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Attention mechanisms as Keras 3 layers, tested against their references."""


@app.command()
def demo(
    attention: Annotated[
        str,
        typer.Option(
            help="Mechanisms to train with, separated by commas.",
            autocompletion=complete_mechanisms,
        ),
    ] = "se,cbam,coordinate,non-local",
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs for each mechanism.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training scenes.")] = 6,
    backend: Backend = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("attn-demo"),
) -> None:
    """Train a small CNN to read one digit of three, without attention and with each mechanism."""
    mechanisms = find_mechanisms(attention)
    usable_folder(out)
    use_backend(backend)
    with needing_demo("The demo"):
        from attn_core._cli.demo import run_demo
    if not run_demo(mechanisms, seeds, epochs, out):
        raise typer.Exit(130)


@app.command()
def compare(
    attention: Annotated[
        str,
        typer.Option(
            help="Mechanisms to compare, separated by commas; 'all' compares every one.",
            autocompletion=complete_mechanisms,
        ),
    ] = "all",
    shape: Annotated[
        str,
        typer.Option(
            metavar="BxHxWxC|BxNxC",
            help="Shape of the input, the batch first. Layers on tokens get the image's positions.",
        ),
    ] = "8x14x14x256",
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Further heights of the image, or numbers of tokens, for the plot. Default: half "
            "and double the height, a quarter of the tokens and four times as many; 0: no plot.",
        ),
    ] = None,
    every_layer: Annotated[
        bool,
        typer.Option("--every-layer", help="Every layer, not only the principal ones."),
    ] = False,
    eager: Annotated[bool, typer.Option("--eager", help="Measure without compilation.")] = False,
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to repeat each measurement.")
    ] = 1.0,
    train: Annotated[
        bool,
        typer.Option("--train", help="Also train with each, on the task of the demo."),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings of each.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training scenes.")] = 6,
    backend: Backend = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("attn-compare"),
) -> None:
    """Compare the mechanisms at one input shape: parameters, multiply-adds, time, memory.

    Prints a table (Markdown, into a pipe) and writes it as CSV, JSON and Markdown, with a plot of
    cost against size. A run that was interrupted continues from what it had measured.
    """
    everything = attention.strip().casefold() == "all"
    mechanisms = list(catalog.MECHANISMS) if everything else find_mechanisms(attention)
    lengths = _numbers("--shape", shape, "x", (3, 4))
    others = _numbers("--sizes", sizes, ",", range(1, 8))
    if 0 in lengths:
        raise typer.BadParameter(f"--shape must be positive, not {shape!r}.")
    usable_folder(out)
    use_backend(backend)
    with needing_demo("attn compare"):
        from attn_core._cli.compare import run_compare, usual_sizes
    others = usual_sizes(lengths) if others is None else tuple(filter(None, others))
    if not run_compare(
        mechanisms,
        lengths,
        out,
        every_layer=every_layer,
        mode="eager" if eager else "compiled",
        sizes=others,
        seeds=seeds if train else 0,
        epochs=epochs,
        seconds=seconds,
    ):
        raise typer.Exit(130)


@app.command("list")
def list_mechanisms(
    family: Annotated[Family | None, typer.Option(help="Only those of one family.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only those that take such input.")] = None,
    search: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="Only those with all of these words in their names, title, authors or repository.",
        ),
    ] = "",
) -> None:
    """List the mechanisms as a table; into a pipe, as lines with tabs between the fields."""
    from attn_core._cli.show import print_list
    from attn_core._cli.sources import kinds

    found = catalog.search(search)
    if search and not found:
        notes.print(f"No mechanism has all of these words: {search}", markup=False)
        raise typer.Exit(1)
    chosen = [m for m in found if family is None or m.family == family]
    wanted = {kind, Kind.token} if kind == Kind.signal else {kind}  # the steps are tokens
    print_list([m for m in chosen if kind is None or wanted & set(kinds(m))])


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A mechanism or a layer: se, SEAttention, senet.", autocompletion=complete_names
        ),
    ],
) -> None:
    """Show a mechanism: formula, paper, arguments, cost, where to insert it, an example."""
    mechanism = find_mechanism(name)
    from attn_core._cli.show import print_mechanism

    print_mechanism(mechanism, name)


@app.command()
def maps(
    model: Annotated[
        Path, typer.Argument(help="A saved model, .keras.", exists=True, dir_okay=False)
    ],
    image: Annotated[
        str,
        typer.Argument(
            help="An image file; china or flower is a photograph from scikit-learn.",
            autocompletion=lambda: ["china", "flower"],
        ),
    ],
    layer: Annotated[str | None, typer.Option(help="Path of the one layer to draw.")] = None,
    head: Annotated[int | None, typer.Option(min=0, help="The one head to draw.")] = None,
    query: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,COLUMN",
            help="The query whose attention is drawn: a pixel of the resized image, or the number "
            "of a query that is not a pixel, for example of a class. Default: the middle pixel.",
        ),
    ] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            help="How pixels of 0 to 255 are scaled for the model: to 0 to 1 (unit), to -1 to 1 "
            "(symmetric), by ImageNet's mean and deviation (imagenet), or not at all (raw)."
        ),
    ] = Scale.unit,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="Size of the image, if the model takes images of any size. Default: 224x224.",
        ),
    ] = None,
    backend: Backend = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("attn-maps"),
) -> None:
    """Draw the map of each attention layer of a saved model, for an image.

    Prints the files that it writes, one for each layer.
    """
    place = _numbers("--query", query, ",", (1, 2))
    lengths = _numbers("--size", size, "x", (2,))
    if 0 in (lengths or ()):
        raise typer.BadParameter(f"--size must be positive, not {size!r}.")
    _check_suffix("the model", model, ".keras")
    with needing_demo("attn maps"):
        import matplotlib  # noqa: F401 - before the model runs

        from attn_core._cli.images import open_image

        picture = open_image(image)
    usable_folder(out)
    use_backend(backend)
    from attn_core._cli.maps import load, save_maps

    place = place[0] if place and len(place) == 1 else place
    network = load(model)
    for path in save_maps(network, picture, out, scale, lengths, layer, head, place):
        typer.echo(path)


@app.command()
def convert(
    state_dict: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint of the authors' code or of timm: .safetensors, .npz, or a file of "
            "PyTorch: .pt, .pth, .pth.tar, .bin, .ckpt.",
            exists=True,
            dir_okay=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "--layer",
            help="What the checkpoint belongs to: a variant of a network (gfnet_ti), a network "
            "(CoAtNet) or a layer (SEAttention).",
            autocompletion=complete_names,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write, .weights.h5, or for a network .keras. Default: the name of "
            "the model, with .weights.h5."
        ),
    ] = None,
    config: Annotated[
        str, typer.Option(help="""Constructor arguments, as JSON: '{"reduction": 4}'.""")
    ] = "{}",
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="HxWxC|NxC|DxHxWxC",
            help="Shape of the input of a layer, without the batch: 14x14x64.",
        ),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(help="What comes before the layer's names in the checkpoint: layer1.0.se."),
    ] = "",
    skip_mismatch: Annotated[
        bool,
        typer.Option(
            "--skip-mismatch", help="Leave out a network's classifier if it does not fit."
        ),
    ] = False,
    adapt_channels: Annotated[
        bool,
        typer.Option(
            "--adapt-channels", help="Adapt a network's first kernel to its number of channels."
        ),
    ] = False,
    backend: Backend = None,
) -> None:
    """Convert a PyTorch checkpoint to a file of Keras.

    The file is read again, and must give the same outputs. If names or shapes do not fit, no file
    is written.
    """
    lengths = _numbers("--shape", shape, "x", (2, 3, 4))
    _check_suffix("the checkpoint", state_dict, ".safetensors", ".npz", *TORCH_FILES)
    out = Path(f"{model}.weights.h5") if out is None else out
    _check_suffix("--out", out, ".weights.h5", ".keras")
    try:
        arguments = json.loads(config)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--config is not JSON: {error}.") from None
    if not isinstance(arguments, dict):
        raise typer.BadParameter("--config must be a JSON object, as in '{\"reduction\": 4}'.")
    usable_folder(out.parent, create=False)
    use_backend(backend)
    from attn_core._cli import convert as work

    target = work.make(model, arguments, lengths)
    options = {"skip_mismatch": skip_mismatch, "adapt_channels": adapt_channels}
    try:
        lines = work.convert(state_dict, target, out, lengths, prefix=prefix, **options)
    except (ImportError, ValueError) as error:
        notes.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for line in lines:
        notes.print(line, highlight=False, markup=False, soft_wrap=True)
    typer.echo(out)


def _numbers(
    option: str, text: str | None, separator: str, counts: Collection[int]
) -> tuple[int, ...] | None:
    """Return the numbers of an option such as 14x14x64."""
    if text is None:
        return None
    parts = [part.strip() for part in text.casefold().split(separator)]
    if len(parts) not in counts or not all(re.fullmatch(r"\d+", part) for part in parts):
        wanted = " or ".join(separator.join("N" * count) for count in counts)
        raise typer.BadParameter(f"{option} must be {wanted}, of whole numbers, not {text!r}.")
    return tuple(map(int, parts))


def _check_suffix(what: str, path: Path, *suffixes: str) -> None:
    if not path.name.endswith(suffixes):
        wanted = " or ".join(suffixes)
        raise typer.BadParameter(f"{what} must be a {wanted} file, not {path.name!r}.")
