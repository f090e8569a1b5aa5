"""The commands and their arguments."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attn_core import catalog
from attn_core._backend import BACKENDS, configured_backend, installed_backends
from attn_core._version import __version__

app = typer.Typer(no_args_is_help=True, help="Attention mechanisms as Keras 3 layers.")
notes = Console(stderr=True)


def use_backend(requested: str | None) -> str:
    """Choose the backend of this process before Keras is imported, and say which and why."""
    installed = installed_backends()
    if requested is not None and requested not in BACKENDS:
        raise typer.BadParameter(f"{requested!r} is none of {', '.join(BACKENDS)}.")
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


def find_mechanisms(names: str) -> list[catalog.Mechanism]:
    """Return the mechanisms of a comma-separated list, or suggest the nearest names."""
    found = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        mechanism = catalog.find(name)
        if mechanism is None:
            known = [n for m in catalog.MECHANISMS for n in (m.key, *m.aliases, *m.layers)]
            nearest = get_close_matches(name.casefold(), known, n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "See the README's table."
            raise typer.BadParameter(f"there is no mechanism {name!r}. {hint}")
        found[mechanism.key] = mechanism
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
    """Attention mechanisms as Keras 3 layers, proven against their authors' code."""


@app.command()
def demo(
    attention: Annotated[
        str, typer.Option(help="Mechanisms to train with, separated by commas.")
    ] = "se,cbam,eca,coordinate",
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs for each mechanism.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    backend: Annotated[
        str | None, typer.Option(help=f"Keras backend: {', '.join(BACKENDS)}.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("attn-demo"),
) -> None:
    """Train a small CNN on handwritten digits, without attention and with each mechanism."""
    mechanisms = find_mechanisms(attention)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(f"{out} cannot be written to")
    except OSError as error:
        raise typer.BadParameter(f"the output folder cannot be used: {error}") from error
    use_backend(backend)
    try:
        from attn_core.cli.demo import run_demo
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("sklearn", "matplotlib"):
            notes.print(f'The demo needs {error.name}: pip install "attn-core[demo]"', style="red")
            raise typer.Exit(1) from None
        raise
    if not run_demo(mechanisms, seeds, epochs, out):
        raise typer.Exit(130)
