"""The page of each mechanism, and the table to choose by: from catalog, docstrings and profile."""

import inspect
import io
import json
import math
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from textwrap import dedent

import exported
import keras
from attn_core import layers
from attn_core.catalog import MECHANISMS, Mechanism
from attn_core.layers.base import ImageLayer
from attn_core.tools.profiling import profile
from docstring_sections import differences, sections
from flow_drawings import draw
from mechanism_texts import CONFIGS, SIZE, TEXTS
from verified import BACKENDS, table, worst_errors

UNSAID = {
    keras.layers.Layer: "weights start as Glorot and Bengio's uniform, and biases at zero",
    keras.layers.Conv2D: "convolutions are padded with zeros, alike on both sides, so that height "
    "and width stay at stride 1",
    keras.layers.BatchNormalization: "batch normalization has $\\epsilon = 10^{-5}$ and keeps 0.9 "
    "of its moving statistics at each batch",
}
"""What holds for all layers, by the kind of layer within that it is about."""
MAPS = Path(__file__).parents[1] / "build" / "maps"
HEIGHT, WIDTH, CHANNELS = SIZE["H"], SIZE["W"], SIZE["C"]


def page(mechanism: Mechanism) -> str:
    """Return the page of a mechanism."""
    parts = [
        ("What goes where", draw(mechanism.name, TEXTS[mechanism.key].flow)),
        ("The formula", formula(mechanism)),
        ("Import and signature", signature(mechanism)),
        ("Shapes", shapes(mechanism)),
        ("Example", shown(example(mechanism))),
        ("What it looks at", seen(mechanism)),
        ("Where to insert it", insertion(mechanism)),
        ("What it costs", costs(mechanism)),
        ("Support", support(mechanism)),
        ("What differs", differing(mechanism)),
        ("Verified", verified(mechanism)),
        ("Citation", citation(mechanism)),
        ("See also", see_also(mechanism)),
    ]
    text = f"{mechanism.summary} {TEXTS[mechanism.key].use}"
    body = "\n\n".join(f"## {title}\n\n{part}" for title, part in parts if part)
    top = f"{text}\n\n{origin(mechanism)}\n\n{badge(mechanism)}"
    return f"{tags(mechanism)}\n\n# {mechanism.name}\n\n{top}\n\n{body}\n"


# Layers and their examples.


def layer_class(name: str) -> type:
    """Return a public layer."""
    return getattr(layers, name)


def takes_image(name: str) -> bool:
    """Whether a layer takes images, rather than tokens."""
    return issubclass(layer_class(name), ImageLayer)


def new(name: str, **options) -> keras.layers.Layer:
    """Return a layer with the arguments of the examples."""
    options = {"data_format": "channels_last"} | options if takes_image(name) else options
    return layer_class(name)(**CONFIGS.get(name, {}), **options)


def input_shape(name: str) -> tuple[int, ...]:
    """Return the shape of one sample in the examples, channels last."""
    image = takes_image(name)
    return (HEIGHT, WIDTH, CHANNELS) if image else (HEIGHT * WIDTH, CHANNELS)


def arguments(name: str) -> str:
    """Return the arguments of the examples, as they are written."""
    return ", ".join(f"{key}={value!r}" for key, value in CONFIGS.get(name, {}).items())


def run(code: str) -> str:
    """Return what Python code prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "<example>", "exec"), {})
    return printed.getvalue().strip()


def shown(code: str) -> str:
    """Return Python code, and what it prints, in Markdown."""
    printed = run(code)
    result = f"\n\nprints\n\n```text\n{printed}\n```" if printed else ""
    return f"```python\n{code.strip()}\n```{result}"


# The parts of a page.


def tags(mechanism: Mechanism) -> str:
    """Return the other names and the first author as tags, which the search puts first."""
    first, *others = mechanism.authors.split(", ")
    author = [f"{first}{' et al.' if others else ''} {mechanism.year}"] if first else []
    return f"---\ntags: {json.dumps([mechanism.key, *mechanism.aliases, *author])}\n---"


def origin(mechanism: Mechanism) -> str:
    """Return paper, authors and other names: by these, too, the search finds the page."""
    paper = f"*{mechanism.title}*, {mechanism.authors}, {mechanism.year}. "
    names = ", ".join(f"`{name}`" for name in (mechanism.key, *mechanism.aliases))
    return f"{paper if mechanism.title else ''}Also known as {names}."


def badge(mechanism: Mechanism) -> str:
    """Return the largest error of all layers on each backend, in one line."""
    worst = worst_errors()
    largest = {
        label: max(worst.get(name, {}).get(backend, 0.0) for name in mechanism.layers)
        for backend, label in BACKENDS.items()
    }
    known = [f"{label} {error:.0e}" for label, error in largest.items() if error]
    text = "largest error against the reference: " + ", ".join(known) if known else "by the tests"
    return f"**[Verified](#verified)**, {text}."


def formula(mechanism: Mechanism) -> str:
    """Return what the docstrings say before the arguments, below the first line."""
    several = len(mechanism.layers) > 1
    parts = []
    for name in mechanism.layers:
        _, _, body = sections(layer_class(name))[""].partition("\n\n")
        parts.append(f"**`{name}`**\n\n{body}" if several else body)
    return "\n\n".join([*parts, unsaid(mechanism)])


def unsaid(mechanism: Mechanism) -> str:
    """Return what formulas leave open, and all layers do alike."""
    layer = new(mechanism.layers[0])
    layer.build((None, *input_shape(mechanism.layers[0])))
    within = list(layer._flatten_layers())
    used = [text for kind, text in UNSAID.items() if any(isinstance(one, kind) for one in within)]
    return f"Where nothing else is said, {'; '.join(used)}."


def signature(mechanism: Mechanism) -> str:
    """Return the import, and what mkdocstrings makes of the layers."""
    names = ", ".join(mechanism.layers)
    reference = "\n\n".join(f"::: attn_core.layers.{name}" for name in mechanism.layers)
    return f"```python\nfrom attn_core import {names}\n```\n\n{reference}"


def shapes(mechanism: Mechanism) -> str:
    """Return the shapes of input, output and map in both data formats."""
    lines = ["| Layer | Data format | Input | Output | Attention map |", "|---|---|---|---|---|"]
    for name in mechanism.layers:
        last = input_shape(name)
        formats = {"tokens": last}
        if takes_image(name):
            formats = {"channels_last": last, "channels_first": (last[-1], *last[:-1])}
        for data_format, shape in formats.items():
            options = {"data_format": data_format} if takes_image(name) else {}
            layer = new(name, **options)
            inputs = keras.Input(shape)
            output, attention = layer(inputs).shape, "none"
            if hasattr(layer, "compute_attention_shape"):
                maps = layer.compute_attention_shape(inputs.shape)
                maps = maps if isinstance(maps[0], tuple) else (maps,)
                attention = ", ".join(map(_shape, maps))
            lines.append(
                f"| `{name}` | {data_format} | {_shape(inputs.shape)} | {_shape(output)} | "
                f"{attention} |"
            )
    return "\n".join(lines)


def _shape(shape) -> str:
    return "`(" + ", ".join("B" if side is None else str(side) for side in shape) + ")`"


def example(mechanism: Mechanism) -> str:
    """Return a few lines that print shapes."""
    name = mechanism.layers[0]
    code = dedent(f"""\
        import numpy as np
        from attn_core import {name}

        x = np.random.default_rng(0).normal(size=(2, {str(input_shape(name))[1:]}).astype("float32")
        layer = {name}({arguments(name)})
        print("output", tuple(layer(x).shape))
        """)
    if hasattr(layer_class(name), "compute_attention_shape"):
        maps = new(name).compute_attention_shape((2, *input_shape(name)))
        code += "y, maps = layer(x, return_attention_scores=True)\n"
        if isinstance(maps[0], tuple):
            code += 'print("maps", [tuple(one.shape) for one in maps])\n'
        else:
            code += 'print("map", tuple(maps.shape))\n'
    code += 'print("parameters", layer.count_params())\n'
    return code


def seen(mechanism: Mechanism) -> str:
    """Return the picture of `page_maps.py` and what it shows; nothing where there is no map."""
    about = MAPS / f"{mechanism.key}.json"
    if not about.exists():
        return ""
    facts, name = json.loads(about.read_text()), mechanism.layers[0]
    what = "; ".join(facts["what"])
    return (
        f"![{name} on two photographs: {what}](../maps/{mechanism.key}.png)\n\n"
        f"What a trained `{name}` weighs on the two photographs of scikit-learn, china.jpg and "
        f"flower.jpg: {what}. The network of {facts['parameters']:,} parameters, two convolutions "
        f"of stride 2, this layer and a classifier, learnt in {facts['steps']} steps to tell "
        f"pieces of the two apart, and names {facts['accuracy']:.1%} of {facts['tested']} pieces "
        "from a part of both that it had not seen. What a layer weighs depends on the task: "
        "[draw it for yours](../visualize.md)."
    )


def insertion(mechanism: Mechanism) -> str:
    """Return the mechanism in a residual block: by hand, and by `insert_attention`."""
    code = inserted(mechanism)
    if not keeps_shape(mechanism.layers[0]):
        return (
            f"Behind the last feature map, in the place of pooling and classifier:\n\n{shown(code)}"
        )
    return (
        "In a residual block, by hand; and the same by [one line](../insert.md), which does so in "
        f"every block of a network:\n\n{shown(code)}"
    )


def inserted(mechanism: Mechanism) -> str:
    """Return the code that puts the principal layer into a model."""
    name, given = mechanism.layers[0], arguments(mechanism.layers[0])
    if not keeps_shape(name):
        return dedent(f"""\
            import keras
            from attn_core import {name}

            inputs = keras.Input({input_shape(name)})
            x = keras.layers.Conv2D({CHANNELS}, 3, padding="same", activation="relu")(inputs)
            model = keras.Model(inputs, {name}({given})(x))
            print(model.output_shape)
            """)
    branch = f'keras.layers.Conv2D({CHANNELS}, 3, padding="same")(inputs)'
    if not takes_image(name):
        branch = f"keras.layers.Dense({CHANNELS})(inputs)"
    options = f", {given}" if given else ""
    return dedent(f"""\
        import keras
        from attn_core import {name}, insert_attention

        inputs = keras.Input({input_shape(name)})
        x = {branch}
        by_hand = keras.Model(inputs, inputs + {name}({given})(x))

        plain = keras.Model(inputs, inputs + x)
        by_line = insert_attention(plain, "{mechanism.key}", "residual_branch"{options})
        print(by_hand.count_params() == by_line.count_params())
        """)


@cache
def keeps_shape(name: str) -> bool:
    """Whether the output of a layer has the shape of its input."""
    inputs = keras.Input(input_shape(name))
    return new(name)(inputs).shape == inputs.shape


def costs(mechanism: Mechanism) -> str:
    """Return the formulas of the costs, a worked number, and the place among all."""
    text, (parameters, multiply_adds) = TEXTS[mechanism.key], measured()[mechanism.key]
    letters = {"C": ("channels", CHANNELS), "H": ("height", HEIGHT), "W": ("width", WIDTH)}
    letters |= {"N": ("positions or tokens", HEIGHT * WIDTH)} | text.symbols
    used = {
        letter: value
        for letter, value in letters.items()
        if letter in _letters(text.parameters) | _letters(text.multiply_adds)
    }
    where = ", ".join(f"${letter} = {value}$ {what}" for letter, (what, value) in used.items())
    everyone = measured().values()
    ranks = [
        1 + sum(other[i] < own for other in everyone)
        for i, own in enumerate((parameters, multiply_adds))
    ]
    return (
        f"`{mechanism.layers[0]}`, of one sample:\n\n"
        "| | Formula | Here |\n|---|---|--:|\n"
        f"| Parameters | ${tex(text.parameters)}$ | {parameters:,} |\n"
        f"| Multiply-adds | ${tex(text.multiply_adds)}$ | {multiply_adds:,} |\n\n"
        f"with {where}.\n\n"
        f"Among all {len(MECHANISMS)} at this size, counted from the lightest, that is number "
        f"{ranks[0]} in parameters and {ranks[1]} in multiply-adds; the [table of all]"
        "(../choose.md) sorts by either. Gates' products, activations and norms are not counted."
    )


def _letters(expression: str) -> set[str]:
    return {letter for letter in expression if letter.isalpha()}


def tex(expression: str) -> str:
    """Return a Python expression of products, sums and powers as TeX."""
    for python, formula in (("**", "^"), (" * ", r"\,"), ("log2", r"\log_2")):
        expression = expression.replace(python, formula)
    return expression


@cache
def measured() -> dict[str, tuple[int, int]]:
    """Return parameters and multiply-adds of one sample of each mechanism's principal layer.

    Raises:
        ValueError: If a formula of `mechanism_texts.py` does not give the number counted.
    """
    numbers = {}
    for mechanism in MECHANISMS:
        name, text = mechanism.layers[0], TEXTS[mechanism.key]
        counted = profile(new(name), (1, *input_shape(name)), modes=())
        found = counted.trainable_parameters, counted.total_multiply_adds
        values = SIZE | {"N": HEIGHT * WIDTH, "log2": math.log2}
        values |= {letter: value for letter, (_, value) in text.symbols.items()}
        for formula, number in zip((text.parameters, text.multiply_adds), found, strict=True):
            # Fourier transforms are rounded one by one.
            if abs(eval(formula, {}, values) - number) > ("log2" in formula) * 4:
                raise ValueError(f"{mechanism.key}: {formula} is not {number} for {values}")
        numbers[mechanism.key] = found
    return numbers


def support(mechanism: Mechanism) -> str:
    """Return what each layer can do, found out from the layer."""
    abilities = {name: _abilities(name) for name in mechanism.layers}
    lines = ["| | " + " | ".join(f"`{name}`" for name in abilities) + " |"]
    lines.append("|---|" + "---|" * len(abilities))
    for row in dict.fromkeys(row for one in abilities.values() for row in one):
        cells = (one.get(row, "not tried") for one in abilities.values())
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _abilities(name: str) -> dict[str, str]:
    cls = layer_class(name)
    image = takes_image(name)
    call = inspect.signature(cls.call).parameters
    return {
        "Backends": ", ".join(BACKENDS.values()),
        "Data formats": "channels_last, channels_first" if image else "tokens",
        "Unknown sizes": "yes" if takes_any_size(name) else "no, fixed at build",
        "Mixed precision": "float16, bfloat16",
        "Returns its map": "yes" if hasattr(cls, "compute_attention_shape") else "no map",
        "Masks": "yes" if "attention_mask" in call else "no",
        "Key and value of their own": "yes" if "key" in call else "no",
        "`insert_attention`": "yes" if keeps_shape(name) else "no, changes the shape",
        "Authors' weights": "yes" if hasattr(cls, "torch_names") else "no",
        "`.keras` files": "yes",
    } | exported.support(name)


def takes_any_size(name: str) -> bool:
    """Whether a layer is built without knowing the image's size, or the number of tokens."""
    shape = input_shape(name)
    try:
        new(name)(keras.Input((*[None] * (len(shape) - 1), shape[-1])))
    except ValueError:
        return False
    return True


def differing(mechanism: Mechanism) -> str:
    """Return how the layers differ from paper, authors' code and old collections."""
    parts = [f"**`{name}`** {differences(layer_class(name))}" for name in mechanism.layers]
    return "\n\n".join(parts)


def verified(mechanism: Mechanism) -> str:
    """Return the table of errors, and what they are errors against."""
    reference = mechanism.reference
    if mechanism.reference_url:
        reference = f"[{reference}]({mechanism.reference_url})"
    return (
        f"The numbers are those of {reference}. Largest absolute error of outputs and gradients "
        "against [reference vectors](../verification.md) made with it, as the last test runs saw "
        f"it:\n\n{table(mechanism.layers)}"
    )


def citation(mechanism: Mechanism) -> str:
    """Return the paper, and its entry in BibTeX."""
    if not mechanism.title:
        url = mechanism.reference_url
        return f"There is no paper; the layer comes from [{mechanism.reference}]({url})."
    first = mechanism.authors.split(", ")[0].lower()
    return (
        f"[{mechanism.title}]({mechanism.paper_url})\n\n"
        "```bibtex\n"
        f"@article{{{first}{mechanism.year}{mechanism.key.replace('-', '')},\n"
        f"  title = {{{{{mechanism.title}}}}},\n"
        f"  author = {{{mechanism.authors.replace(', ', ' and ')}}},\n"
        f"  journal = {{arXiv preprint arXiv:{mechanism.arxiv}}},\n"
        f"  year = {{{mechanism.year}}},\n"
        "}\n```"
    )


def see_also(mechanism: Mechanism) -> str:
    """Return links to relatives and networks."""
    known, text = {one.key: one for one in MECHANISMS}, TEXTS[mechanism.key]
    relatives = [known[key] for key in text.related]
    lines = [f"- [{one.name}]({one.key}.md): {one.summary}" for one in relatives]
    networks = ", ".join(f"`{name}`" for name in text.networks)
    if networks:
        lines.append(f"- [Whole networks](../models.md) that hold it: {networks}.")
    lines.append("- [Choose a mechanism](../choose.md) by input, cost and task.")
    return "\n".join(lines)


# The table of all.


def chooser() -> str:
    """Return the table of all mechanisms, in Markdown: a script makes it sort and filter."""
    titles = ["Mechanism", "Input", "Task", "Parameters", "Multiply-adds", "Grows with", "Map"]
    lines = ["| " + " | ".join([*titles, "Size", "Year"]) + " |"]
    lines.append("|---|---|---|--:|--:|---|---|---|--:|")
    for mechanism in MECHANISMS:
        name, text = mechanism.layers[0], TEXTS[mechanism.key]
        parameters, multiply_adds = measured()[mechanism.key]
        cells = [
            f"[{mechanism.name}](mechanisms/{mechanism.key}.md)",
            mechanism.kind,
            ", ".join(text.tasks),
            f"{parameters:,}",
            f"{multiply_adds:,}",
            growth(text.multiply_adds),
            "yes" if hasattr(layer_class(name), "compute_attention_shape") else "no",
            "any" if takes_any_size(name) else "fixed",
            str(mechanism.year),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth(multiply_adds: str) -> str:
    """Return with what a formula of multiply-adds grows, N being the number of positions."""
    terms = {"N**2": "N²", "N * M": "N²", "log2": "N log N", "N * C * S * (H + W)": "N (H + W)"}
    return next((grows for term, grows in terms.items() if term in multiply_adds), "N")
