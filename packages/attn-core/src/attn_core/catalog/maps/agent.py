"""Agent attention."""

from attn_core.catalog._record import LayerRecord, Mechanism, fixed_image, normal

TABLES = (
    "key_table",
    "key_rows",
    "key_columns",
    "query_table",
    "query_rows",
    "query_columns",
)
"""The weights that the biases are made of."""

RECORD = Mechanism(
    number=54,
    name="Agent attention",
    layers={
        "AgentAttention": LayerRecord(
            orders={
                "key_table": "(head; agent; row; column)",
                "key_rows": "(1; head; agent; row; 1)",
                "key_columns": "(1; head; agent; 1; column)",
                "query_table": "(head; agent; row; column)",
                "query_rows": "(1; head; row; 1; agent)",
                "query_columns": "(1; head; 1; column; agent)",
                "key_value": "first all keys, then all values, each head by head",
            },
            cases=(
                fixed_image(8, size=(5, 5), num_heads=2, agent_num=4),
                fixed_image(
                    8, size=(6, 6), num_heads=2, agent_num=9, sr_ratio=2, qkv_bias=True, dropout=0.2
                ),
            ),
            legal=None,
            drawn=("image", "bars"),
            starts=dict.fromkeys(TABLES, normal(0.02)),
        ),
    },
    input="image",
    summary=(
        "A few agent tokens attend to all positions, then every position attends to the agent "
        "tokens."
    ),
    title="Agent Attention: On the Integration of Softmax and Linear Attention",
    authors="Han, Ye, Han, Xia, Pan, Wan, Song, Huang",
    year=2023,
    venue="ECCV 2024",
    arxiv="2312.08874",
    reference="LeapLabTHU/Agent-Attention",
    aliases=("agent-pvt", "agent transformer"),
    use=(
        "Both steps are softmax attention, but one side has only a fixed number of agents, so the "
        "cost is linear in the number of positions. Use it at high resolutions instead of "
        "self-attention, for square images of one size."
    ),
    flow=(
        "x -> query -> scores / √d + B₂ -> softmax over agents -> * gathered -> + -> output map"
        " -> y",
        "query -> mean over regions: agents -> scores / √d + B₁ -> softmax over keys -> * values"
        " -> * gathered",
        "x -> key -> scores / √d + B₁",
        "x -> value -> * values",
        "value -> depthwise conv, 3x3 -> +",
        "mean over regions: agents -> scores / √d + B₂",
    ),
    parameters="4 * C**2 + 11 * C + h * p**2 * (98 + 2 * H + 2 * W)",
    multiply_adds="4 * N * C**2 + 4 * p**2 * N * C + (p + 9) * N * C + p**2 * W * C",
    maps="2 * h * p**2 * N",
    options={"num_heads": 8, "agent_num": 49},
    symbols={"h": ("heads", "num_heads"), "p": ("√agents", "isqrt(agent_num)")},
    needs=(
        "C % num_heads == 0",
        "H == W",
        "isqrt(agent_num) ** 2 == agent_num",
    ),
    tasks=("classification", "dense prediction"),
    related=("focused-linear", "double", "emsa"),
    small={"num_heads": 4, "agent_num": 9},
)
