import numpy as np

from numpy_layers import attention, conv, dense, merge_heads, split_heads


def resize(table, height, width):
    """Interpolate (..., h, w) to (..., height, width)."""

    def parts(new, old):  # by the centres of the pixels: (new, old)
        place = (np.arange(new) + 0.5) * old / new - 0.5
        place = np.clip(place, 0, old - 1)
        return np.maximum(1 - abs(place[:, None] - np.arange(old)), 0)

    h, w = table.shape[-2:]
    return parts(height, h) @ table @ parts(width, w).T


def agent(x, w, num_heads=8, agent_num=49):
    """Agent attention: (B, H, W, C) -> (B, H, W, C)."""
    B, H, W, C = x.shape
    p = int(np.sqrt(agent_num))
    tokens = x.reshape(B, H * W, C)
    query = dense(tokens, w, "query")
    key, value = np.split(dense(tokens, w, "key_value"), 2, -1)

    # The agents are means of the queries, over p x p regions.
    agents = query.reshape(B, p, H // p, p, W // p, C).mean((2, 4))
    agents = agents.reshape(B, p * p, C)
    parts = (query, key, value, agents)
    q, k, v, agents = (split_heads(part, num_heads) for part in parts)

    # The agents attend to the positions.
    bias = resize(w["key_table"], H, W)  # (heads, agents, H, W)
    bias = bias + w["key_rows"][0] + w["key_columns"][0]
    bias = bias.reshape(num_heads, p * p, H * W)
    g = attention(agents, k, v, bias)  # (B, heads, agents, d)

    # The positions attend to the agents.
    bias = resize(w["query_table"], H, W).transpose(0, 2, 3, 1)
    bias = bias + w["query_rows"][0] + w["query_columns"][0]
    bias = bias.reshape(num_heads, H * W, p * p)
    y = merge_heads(attention(q, agents, g, bias)).reshape(B, H, W, C)

    y = y + conv(value.reshape(B, H, W, C), w, "local", groups=C)
    return dense(y, w, "project")
