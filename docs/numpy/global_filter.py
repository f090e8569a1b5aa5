import numpy as np


def global_filter(x, w):
    """Global filter (GFNet): (B, H, W, C) -> (B, H, W, C)."""
    H, W = x.shape[1:3]
    K = w["filter"][..., 0] + 1j * w["filter"][..., 1]  # (H, W // 2 + 1, C)
    spectrum = np.fft.rfft2(x, axes=(1, 2))  # (B, H, W // 2 + 1, C)
    return np.fft.irfft2(K * spectrum, s=(H, W), axes=(1, 2))
