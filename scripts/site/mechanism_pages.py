"""The page of each mechanism, and the table of all: from records, docstrings and profiles."""

import inspect
import io
import json
import math
from contextlib import redirect_stdout
from functools import cache
from html import escape
from textwrap import dedent

import keras
from attn_core import catalog, layers
from attn_core._tools.profiling import Profile, profile
from attn_core.catalog import EXAMPLE, FAMILIES, LAYERS, MECHANISMS, Mechanism
from attn_core.catalog._docstrings import differences, sections
from attn_core.layers import ImageLayer
from attn_core.layers._base import ANY_SPACE

from scripts.site import (
    eight,
    export_support,
    map_pictures,
    plain_numpy,
    recorded_results,
    signatures,
)
from scripts.site import weights as weight_tables
from scripts.site.flow_drawings import draw
from scripts.site.recorded_results import BACKENDS, SOURCES
from scripts.tables.markdown import table

CONVENTIONS = {
    keras.layers.Layer: "kernels are initialised from the Glorot uniform distribution, and biases "
    "with zeros",
    keras.layers.Conv2D: "convolutions are padded with zeros, equally on both sides, so that "
    "height and width stay at stride 1",
    keras.layers.BatchNormalization: "batch normalization has $\\epsilon = 10^{-5}$, and at each "
    "batch its moving statistics become 0.9 times their value plus 0.1 times those of the batch",
}
"""What the formulas leave out because it is the same in all layers, by the kind of child."""
OTHER_SHAPES = (
    "Signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, are accepted too, by {}. With "
    "channels_first the channels come after the batch, as in images. Outputs and gates have the "
    "axes of the input; attention between positions has those of an image of as many positions."
)
"""What a page says of layers that take any number of spatial axes."""
MEMORY = (
    "Memory is that of the weights and of the attention maps that the layer can return, in float32 "
    "for one sample; `attn compare` estimates the memory of all activations."
)
HEIGHT, WIDTH, CHANNELS = EXAMPLE.height, EXAMPLE.width, EXAMPLE.channels


def page(mechanism: Mechanism) -> str:
    """Return the page of a mechanism."""
    parts = [
        ("What goes where", draw(mechanism.name, mechanism.flow)),
        ("The formula", formula(mechanism)),
        ("In NumPy", in_numpy(mechanism)),
        ("Example", shown(example(mechanism))),
        ("Import and signature", signature(mechanism)),
        ("Shapes", shapes(mechanism)),
        ("Weights", weights(mechanism)),
        ("What it looks at", seen(mechanism)),
        ("Where to insert it", insertion(mechanism)),
        ("What it costs", costs(mechanism)),
        ("Support", support(mechanism)),
        ("What differs", differing(mechanism)),
        ("Verified" if measured_errors(mechanism) else "Reference", verified(mechanism)),
        ("Citation", citation(mechanism)),
        ("See also", see_also(mechanism)),
    ]
    text = f"{mechanism.summary} {mechanism.use}"
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


def kinds_of_input(mechanism: Mechanism) -> list[str]:
    """Return the kinds of input that the principal layer of a mechanism takes."""
    more = (
        ["signal", "volume"] if layer_class(mechanism.principal).spatial_axes == ANY_SPACE else []
    )
    return [*mechanism.input.split(" or "), *more]


def new(name: str, **options) -> keras.layers.Layer:
    """Return a layer with the arguments of the examples."""
    options = {"data_format": "channels_last"} | options if takes_image(name) else options
    return layer_class(name)(**LAYERS[name].arguments(EXAMPLE), **options)


def input_shape(name: str) -> tuple[int, ...]:
    """Return the shape of one sample in the examples, channels last."""
    image = takes_image(name)
    return (HEIGHT, WIDTH, CHANNELS) if image else (HEIGHT * WIDTH, CHANNELS)


def arguments(name: str) -> str:
    """Return the arguments of the examples, as they are written."""
    return ", ".join(f"{key}={value!r}" for key, value in LAYERS[name].arguments(EXAMPLE).items())


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
    """Return the head of a page: its source, and names and paper as tags, for the search."""
    first, *others = mechanism.authors.split(", ")
    author = [f"{first}{' et al.' if others else ''} {mechanism.year}"] if first else []
    paper = [mechanism.title, mechanism.authors] if mechanism.title else []
    names = json.dumps([mechanism.key, *mechanism.other_names, *author, *paper])
    record = f"{mechanism.family}/{mechanism.key.replace('-', '_')}.py"
    source = f"packages/attn-core/src/attn_core/catalog/{record}"
    summary = json.dumps(mechanism.summary)
    return f"---\ntags: {names}\nsource: {source}\ndescription: {summary}\n---"


def origin(mechanism: Mechanism) -> str:
    """Return the paper and the other names: the search finds the page by these too."""
    paper = f"{publication(mechanism)}. "
    names = ", ".join(f"`{name}`" for name in (mechanism.key, *mechanism.other_names))
    return f"{paper if mechanism.title else ''}Also known as {names}."


def publication(mechanism: Mechanism) -> str:
    """Return authors, title, place, year and arXiv number of the paper, "" where there is none."""
    if not mechanism.title:
        return ""
    link = f", [arXiv:{mechanism.arxiv}]({mechanism.paper_url})" if mechanism.arxiv else ""
    return f"{mechanism.authors}, *{mechanism.title}*, {mechanism.published}{link}"


def measured_errors(mechanism: Mechanism) -> dict[str, float]:
    """Return the largest error of all layers on each backend where one was measured."""
    return recorded_results.worst(tuple(mechanism.layers))


def badge(mechanism: Mechanism) -> str:
    """Return how the vectors were made, and the largest error on each backend, in one line."""
    known = [f"{BACKENDS[name]} {error:.0e}" for name, error in measured_errors(mechanism).items()]
    errors = f" [Verified](#verified): largest error {', '.join(known)}." if known else ""
    return f"{recorded_results.badge(mechanism)}{errors}"


def formula(mechanism: Mechanism) -> str:
    """Return what the docstrings say before the arguments, below the first line."""
    several = len(mechanism.layers) > 1
    parts = []
    for name in mechanism.layers:
        _, _, body = sections(layer_class(name))[""].partition("\n\n")
        parts.append(f"**`{name}`**\n\n{body}" if several else body)
    return "\n\n".join([*parts, conventions(mechanism)])


def conventions(mechanism: Mechanism) -> str:
    """Return what the formula does not say, because all layers do it in the same way."""
    layer = new(mechanism.principal)
    layer.build((None, *input_shape(mechanism.principal)))
    within = list(layer._flatten_layers())
    used = [
        text for kind, text in CONVENTIONS.items() if any(isinstance(one, kind) for one in within)
    ]
    return f"Unless the text says otherwise, {'; '.join(used)}."


def in_numpy(mechanism: Mechanism) -> str:
    """Return the mechanism in plain NumPy, if it is written."""
    if not plain_numpy.file(mechanism.key).exists():
        return ""
    return plain_numpy.section(mechanism, difference(mechanism.key))


@cache
def difference(key: str) -> tuple[float, float]:
    """Return the largest difference of NumPy from the principal layer, and the largest output."""
    name = catalog.get(key).principal
    return plain_numpy.difference(new(name), input_shape(name), key)


def signature(mechanism: Mechanism) -> str:
    """Return the import, and the signatures and arguments of the layers."""
    names = ", ".join(mechanism.layers)
    parts = [f"```python\nfrom attn_core import {names}\n```"]
    for name in mechanism.layers:
        parts += [f"### {name}", signatures.reference(layer_class(name))]
    return "\n\n".join(parts)


def weights(mechanism: Mechanism) -> str:
    """Return the table of the weights of each layer."""
    size = f"${HEIGHT} \\times {WIDTH}$ positions and ${CHANNELS}$ channels"
    parts = [
        f"The shapes are those for an input of {size}, as in the example. The paths are those of "
        "`layer.weights`."
    ]
    for name in mechanism.layers:
        table_of_layer = weight_tables.weights(new(name), (None, *input_shape(name)))
        parts += [f"**`{name}`**"] * (len(mechanism.layers) > 1) + [table_of_layer]
    return "\n\n".join(parts)


def shapes(mechanism: Mechanism) -> str:
    """Return the shapes of input, output and map in both data formats."""
    rows = []
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
            if bool(layer.maps):
                maps = layer.compute_attention_shape(inputs.shape)
                maps = maps if isinstance(maps[0], tuple) else (maps,)
                attention = ", ".join(map(_shape, maps))
            sides = (_shape(inputs.shape), _shape(output), attention)
            rows.append([f"`{name}`", data_format, *sides])
    text = table(["Layer", "Data format", "Input", "Output", "Attention map"], rows)
    many = [f"`{one}`" for one in mechanism.layers if layer_class(one).spatial_axes == ANY_SPACE]
    return f"{text}\n\n{OTHER_SHAPES.format(', '.join(many))}" if many else text


def _shape(shape) -> str:
    return "`(" + ", ".join("B" if side is None else str(side) for side in shape) + ")`"


def example(mechanism: Mechanism) -> str:
    """Return a few lines that print shapes."""
    name = mechanism.principal
    code = dedent(f"""\
        import numpy as np
        from attn_core import {name}

        x = np.random.default_rng(0).normal(size=(2, {str(input_shape(name))[1:]}).astype("float32")
        layer = {name}({arguments(name)})
        print("output", tuple(layer(x).shape))
        """)
    if bool(layer_class(name).maps):
        maps = new(name).compute_attention_shape((2, *input_shape(name)))
        code += "y, maps = layer(x, return_attention_scores=True)\n"
        if isinstance(maps[0], tuple):
            code += 'print("maps", [tuple(one.shape) for one in maps])\n'
        else:
            code += 'print("map", tuple(maps.shape))\n'
    return code


def seen(mechanism: Mechanism) -> str:
    """Return the picture of `map_pictures.py` and what it shows, "" where none was made."""
    about = map_pictures.FOLDER / f"{mechanism.key}.json"
    if not about.exists():
        return ""
    facts, name = json.loads(about.read_text()), mechanism.principal
    what = "; ".join(facts["what"])
    rows, columns = map_pictures.grid(mechanism)
    network = (
        f"The layer is part of a network of {facts['parameters']:,} parameters, with two strided "
        f"convolutions before it, which leave {rows} x {columns} positions, and a classifier after "
        f"it. The network was trained for {facts['steps']} steps to decide which of the two "
        "photographs a small piece comes from."
    )
    picture = f"![{name} on two photographs: {what}](../maps/{mechanism.key}.png)"
    photographs = "the two photographs of scikit-learn, china.jpg and flower.jpg"
    if not layer_class(name).maps:
        return (
            f"{picture}\n\n`{name}` returns no attention map. The picture shows instead what "
            f"its output depends on, for {photographs}. Before the layer, the features of one "
            "position after the other were set to zero. The colour says how much this changed the "
            "output of the layer at the framed position, relative to the length of that output. "
            f"The framed position itself is left out. {network}"
        )
    return (
        f"{picture}\n\nThe maps of a trained `{name}` on {photographs}: {what}. {network} [Try it "
        f"on another picture](../playground.md?mechanism={mechanism.key}), or [draw the maps of "
        "your own model](../visualize.md): what a layer attends to depends on the task."
    )


def insertion(mechanism: Mechanism) -> str:
    """Return the mechanism in a residual block: by hand, and by `insert_attention`."""
    code = inserted(mechanism)
    if not keeps_shape(mechanism.principal):
        return f"After the last feature map, instead of pooling and classifier:\n\n{shown(code)}"
    return (
        "You can add the layer to a residual block by hand. "
        "[`insert_attention`](../insert.md) does the same in every block of a network:"
        f"\n\n{shown(code)}"
    )


def inserted(mechanism: Mechanism) -> str:
    """Return the code that puts the principal layer into a model."""
    name, given = mechanism.principal, arguments(mechanism.principal)
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
    parameters, multiply_adds = measured()[mechanism.key]
    letters = {"C": ("channels", CHANNELS), "H": ("height", HEIGHT), "W": ("width", WIDTH)}
    letters |= {"N": ("positions or tokens", HEIGHT * WIDTH)}
    letters |= {
        letter: (what, round(mechanism.evaluate(letter)))
        for letter, (what, _) in mechanism.symbols.items()
    }
    used = {
        letter: value
        for letter, value in letters.items()
        if letter in _letters(mechanism.parameters) | _letters(mechanism.multiply_adds)
    }
    where = ", ".join(f"${letter} = {value}$ ({what})" for letter, (what, value) in used.items())
    everyone = measured().values()
    lighter = [
        sum(other[i] < own for other in everyone)
        for i, own in enumerate((parameters, multiply_adds))
    ]
    rows = [
        ("Trainable parameters", f"${tex(mechanism.parameters)}$", f"{parameters:,}"),
        ("Multiply-adds", f"${tex(mechanism.multiply_adds)}$", f"{multiply_adds:,}"),
    ]
    if statistics := counted(mechanism.principal).other_parameters:
        rows.insert(1, ("Statistics of norms, not trained", "", f"{statistics:,}"))
    chart = (
        f'<div class="chart" data-chart="field" data-key="{mechanism.key}" data-label="'
        f'{escape(mechanism.name)} among all mechanisms, by multiply-adds and parameters"></div>'
    )
    sliders = f'<div class="costs" data-mechanism="{mechanism.key}"></div>'
    return (
        f"`{mechanism.principal}`, for one sample:\n\n"
        f"{table(['', 'Formula', 'Here'], rows, numbers=1)}\n\n"
        f"with {where}.\n\n"
        f"Of the {len(MECHANISMS)} mechanisms at this size, {lighter[0]} have fewer trainable "
        f"parameters "
        f"and {lighter[1]} have fewer multiply-adds: see the [table of all](../choose.md). "
        "Multiplications by gates, activations and norms are not counted.\n\n"
        f"{chart}\n\n"
        "### At another size\n\n"
        "Change the size and the arguments. The ranks compare with all mechanisms that take this "
        f"size with the arguments of their examples. {MEMORY}\n\n{sliders}"
    )


def _letters(expression: str) -> set[str]:
    return {letter for letter in expression if letter.isalpha()}


def tex(expression: str) -> str:
    """Return a Python expression of products, sums and powers as TeX."""
    for python, formula in (("**", "^"), (" * ", r"\,"), ("log2", r"\log_2")):
        expression = expression.replace(python, formula)
    return expression


@cache
def counted(name: str) -> Profile:
    """Return what a layer costs in the examples, for one sample."""
    return profile(new(name), (1, *input_shape(name)), modes=())


@cache
def measured() -> dict[str, tuple[int, int]]:
    """Return parameters and multiply-adds of one sample of each mechanism's principal layer.

    The elements of its maps are checked, too.

    Raises:
        ValueError: If a formula of a record does not give the number counted.
    """
    numbers = {}
    for mechanism in MECHANISMS:
        name = mechanism.principal
        found = counted(name).trainable_parameters, counted(name).total_multiply_adds
        formulas = mechanism.parameters, mechanism.multiply_adds, mechanism.maps
        numbers_of_layer = *found, map_elements(new(name), (1, *input_shape(name)))
        for formula, number in zip(formulas, numbers_of_layer, strict=True):
            # Fourier transforms are rounded one by one.
            value = mechanism.evaluate(formula)
            if abs(value - number) > ("log2" in formula) * 4:
                raise ValueError(f"{mechanism.key}: {formula} is {value:.0f}, not {number}")
        numbers[mechanism.key] = found
    return numbers


def map_elements(layer: keras.layers.Layer, shape: tuple[int, ...]) -> int:
    """Return the number of elements of the attention maps that a layer can return."""
    if not layer.maps:
        return 0
    maps = layer.compute_attention_shape(shape)
    maps = maps if isinstance(maps[0], tuple) else (maps,)
    return sum(map(math.prod, maps))


def support(mechanism: Mechanism) -> str:
    """Return what each layer can do, found out from the layer."""
    abilities = {name: _abilities(name) for name in mechanism.layers}
    rows = [
        [row, *(one.get(row, "not tried") for one in abilities.values())]
        for row in dict.fromkeys(row for one in abilities.values() for row in one)
    ]
    return table(["", *(f"`{name}`" for name in abilities)], rows)


def _abilities(name: str) -> dict[str, str]:
    cls = layer_class(name)
    image = takes_image(name)
    call = inspect.signature(cls.call).parameters
    return {
        "Backends": ", ".join(BACKENDS.values()),
        "Data formats": "channels_last, channels_first" if image else "tokens",
        "Unknown sizes": "yes" if takes_any_size(name) else "no, fixed at build",
        "Mixed precision": "float16, bfloat16",
        "Returns its map": "yes" if bool(cls.maps) else "no map",
        "Masks": "yes" if "attention_mask" in call else "no",
        "Key and value of their own": "yes" if "key" in call else "no",
        "`insert_attention`": "yes" if keeps_shape(name) else "no, changes the shape",
        "Weights of the reference": "yes" if hasattr(cls, "torch_names") else "no",
        "`.keras` files": "yes",
    } | export_support.support(name)


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
    """Return what the numbers come from, and the table of errors, where they were measured."""
    made = SOURCES[mechanism.evidence][1]
    if mechanism.reference_url:
        made += f", [{mechanism.reference}]({mechanism.reference_url})"
    text = f"The [reference vectors](../verification.md) were {made}."
    if not measured_errors(mechanism):
        return f"{text} {recorded_results.UNMEASURED}"
    return (
        f"{text} The table shows the largest absolute error of output, gradient and output in "
        "training, for each vector and each backend, in float32. `nox -s proof` measured it.\n\n"
        f"{recorded_results.cases(tuple(mechanism.layers))}"
    )


def citation(mechanism: Mechanism) -> str:
    """Return the entry of the paper in BibTeX, with its address."""
    if not mechanism.title:
        url = mechanism.reference_url
        return f"There is no paper; the layer comes from [{mechanism.reference}]({url})."
    address = mechanism.paper_url or mechanism.reference_url
    first = mechanism.authors.split(", ")[0].lower()
    journal = f"arXiv preprint arXiv:{mechanism.arxiv}" if mechanism.arxiv else mechanism.venue
    return (
        f"[{mechanism.title}]({address})\n\n"
        "```bibtex\n"
        f"@article{{{first}{mechanism.year}{mechanism.key.replace('-', '')},\n"
        f"  title = {{{{{mechanism.title}}}}},\n"
        f"  author = {{{mechanism.authors.replace(', ', ' and ')}}},\n"
        f"  journal = {{{journal}}},\n"
        f"  year = {{{mechanism.year}}},\n"
        "}\n```"
    )


def see_also(mechanism: Mechanism) -> str:
    """Return links to relatives and networks."""
    known = {one.key: one for one in MECHANISMS}
    relatives = [known[key] for key in mechanism.related]
    lines = [f"- [{one.name}]({one.key}.md): {one.summary}" for one in relatives]
    networks = ", ".join(f"`{name}`" for name in mechanism.networks)
    if networks:
        lines.append(f"- [Whole networks](../models.md) that contain it: {networks}.")
    lines.append("- [Choose a mechanism](../choose.md) by input, cost and task.")
    return "\n".join(lines)


# The table of all.


def chooser() -> str:
    """Return the table of all mechanisms in Markdown; on the site a script sorts and filters it."""
    titles = ["Mechanism", "Input", "Task", "Grows with", "Map", "Size"]
    rows = []
    for mechanism in MECHANISMS:
        name = mechanism.principal
        parameters, multiply_adds = measured()[mechanism.key]
        row = [
            f"[{mechanism.name}](mechanisms/{mechanism.key}.md)",
            ", ".join(kinds_of_input(mechanism)),
            ", ".join(mechanism.tasks),
            growth(mechanism.multiply_adds),
            "yes" if bool(layer_class(name).maps) else "no",
            "any" if takes_any_size(name) else "fixed",
        ]
        rows.append([*row, f"{parameters:,}", f"{multiply_adds:,}", mechanism.year])
    return table([*titles, "Parameters", "Multiply-adds", "Year"], rows, numbers=3)


def every_layer() -> str:
    """Return the table of what each layer costs in the examples, for one sample, in Markdown."""
    rows = []
    for mechanism in MECHANISMS:
        for name in mechanism.layers:
            found, given = counted(name), arguments(name)
            memory = (f"{size / 2**20:.2f}" for size in (found.peak_bytes, found.training_bytes))
            parameters = (found.trainable_parameters, found.other_parameters)
            counts = (f"{number:,}" for number in (*parameters, found.total_multiply_adds))
            link = f"[`{name}`](mechanisms/{mechanism.key}.md)"
            rows.append([link, *counts, *memory, f"`{given}`" if given else ""])
    headings = ["Layer", "Trainable parameters", "Statistics", "Multiply-adds", "Peak MiB"]
    return table([*headings, "Training MiB", "Arguments"], rows, numbers=5, after=1)


def measured_times(latency: dict) -> str:
    """Return the section on measured times: a chart and its table, in Markdown."""
    names = {mechanism.key: mechanism.name for mechanism in MECHANISMS}
    backends = [name for name in BACKENDS if any(name in row["times"] for row in latency["rows"])]
    rows = [
        [
            f"[{names[row['key']]}](mechanisms/{row['key']}.md)",
            *(
                f"{row['times'].get(backend, {}).get(step, '')}"
                for backend in backends
                for step in ("forward", "training")
            ),
        ]
        for row in latency["rows"]
        if row["key"] in names
    ]
    headings = [
        f"{BACKENDS[backend]}, {step}" for backend in backends for step in ("forward", "training")
    ]
    libraries = ", ".join(f"{name} {number}" for name, number in latency["versions"].items())
    shape = " x ".join(map(str, latency["input"]))
    return (
        "## Measured times\n\n"
        f"Milliseconds of a forward pass and of a training step, both compiled, at {shape}: the "
        f"median of repeated runs on {latency['machine']}, with {libraries}. On PyTorch, compiled "
        "means by `torch.compile`, which compiles a Keras layer in several pieces. On a CPU this "
        "does not make most layers faster, and it makes some small ones slower. [Against other "
        "libraries](peers.md) has times of PyTorch without compilation, and `attn compare --eager` "
        "measures them on your machine.\n\n"
        '<div class="chart" data-chart="latency" data-label="Milliseconds of a forward pass by '
        'multiply-adds, for each backend"></div>\n\n'
        f"{table(['Mechanism', *headings], rows, numbers=len(headings))}"
    )


def gallery() -> str:
    """Return a card for each mechanism, by family, in HTML; on the site a script filters them."""
    members = (one for key in FAMILIES for one in MECHANISMS if one.family == key)
    cards = "\n".join(map(_card, members))
    filters = '<div id="gallery-filters" class="filters"></div>'
    return f'{filters}\n\n<div class="gallery">\n{cards}\n</div>'


def _card(mechanism: Mechanism) -> str:
    cost = growth(mechanism.multiply_adds)
    kinds = {
        "family": FAMILIES[mechanism.family].title,
        "input": "|".join(kinds_of_input(mechanism)),
        "task": "|".join(mechanism.tasks),
        "cost": cost,
    }
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in kinds.items())
    picture = f"{eight.CARDS}/{mechanism.key}.webp"
    shows = "A map of" if layer_class(mechanism.principal).maps else "What the output depends on in"
    alternative = f"{shows} {escape(mechanism.name)}"
    image = f'<img src="maps/{picture}" alt="{alternative}">'
    image = image if (map_pictures.FOLDER / picture).exists() else ""
    return (
        f'<a class="card" href="mechanisms/{mechanism.key}.html" {data}>{image}'
        f"<b>{escape(mechanism.name)}</b><span>{escape(mechanism.summary)}</span>"
        f'<span class="facts">{recorded_results.badge(mechanism)}'
        f"<span>{mechanism.year}</span><span>cost: {cost}</span></span></a>"
    )


def growth(multiply_adds: str) -> str:
    """Return how a formula of multiply-adds grows with N, the number of positions."""
    terms = {"N**2": "N²", "N * M": "N²", "log2": "N log N", "N * C * S * (H + W)": "N (H + W)"}
    return next((grows for term, grows in terms.items() if term in multiply_adds), "N")
