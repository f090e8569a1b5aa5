"""Attention free transformer."""

from attn_core.catalog._record import GLOROT, LayerRecord, Mechanism, image, tokens

RECORD = Mechanism(
    number=17,
    name="Attention free transformer",
    layers={
        "AFTFull": LayerRecord(
            orders={"position_bias": "(token; token that is averaged)"},
            cases=(
                tokens(8, max_length=12),
                tokens(8, max_length=9, hidden_dim=6, output_dim=10, factorize=3),
            ),
            legal={
                "max_length": [8, 20],
                "hidden_dim": [None, 5],
                "output_dim": [None, 3],
                "factorize": [None, 2],
            },
            required=lambda size: {"max_length": size.positions},
            no_gradient=("key/bias",),
            starts={"position_bias": GLOROT, "target_factor": GLOROT, "source_factor": GLOROT},
        ),
        "AFTLocal": LayerRecord(
            orders={"position_bias": "(token; token that is averaged)"},
            cases=(tokens(8, max_length=12, window_size=3),),
            legal={"max_length": [8], "window_size": [1, 3, 20], "factorize": [None, 2]},
            required=lambda size: {"max_length": size.positions, "window_size": 32},
            example={"window_size": 16},
            no_gradient=("key/bias",),
            starts={"position_bias": GLOROT},
        ),
        "AFTSimple": LayerRecord(
            cases=(
                tokens(8),
                tokens(8, hidden_dim=6, output_dim=10),
            ),
            legal={"hidden_dim": [None, 5], "output_dim": [None, 3]},
            permutable=({},),
            no_gradient=("key/bias",),
        ),
        "AFTConv": LayerRecord(
            orders={"position_bias": "(head; row; column)", "gamma": "(head)", "beta": "(head)"},
            cases=(
                image(8, num_heads=2, kernel_size=3),
                image(8, num_heads=2, kernel_size=5, hidden_dim=6, output_dim=4),
            ),
            legal={"num_heads": [1, 4], "kernel_size": [1, 3, 5], "output_dim": [None, 3]},
            required=lambda size: {"num_heads": 8, "kernel_size": 3},
            example={"kernel_size": 7},
            no_gradient=("key/bias",),
            family="windows",
            starts={"position_bias": GLOROT, "gamma": 0},
        ),
    },
    input="token",
    summary=(
        "Averages the values; the weights are computed for each channel from keys and learned "
        "position biases."
    ),
    title="An Attention Free Transformer",
    authors="Zhai, Talbott, Srivastava, Huang, Goh, Zhang, Susskind",
    year=2021,
    venue="",
    arxiv="2105.14103",
    reference="equations 2, 3, 5 and 6 of the paper",
    aliases=("aft-full", "attention free transformer"),
    use=(
        "Learned biases between positions replace the dot products, so no map is stored for each "
        "head. Use `AFTSimple` or `AFTConv` for long inputs, `AFTFull` for a fixed number of "
        "tokens."
    ),
    flow=(
        "x -> query -> sigmoid -> * -> y",
        "x -> key -> exp(k + w) -> weighted mean over tokens -> *",
        "x -> value -> weighted mean over tokens",
    ),
    parameters="3 * C**2 + 3 * C + L**2",
    multiply_adds="3 * N * C**2 + 2 * N**2 * C",
    symbols={"L": ("max_length", "N")},
    tasks=("classification", "sequences"),
    related=("ufo", "external", "muse"),
)
