"""Mixtures of codes in training: what `train.interpolation` does for two codes, for a batch of them in PyTorch."""

import torch
from torch import Tensor

SMALLEST_SINE, SMALLEST_LENGTH = 1e-3, 1e-6  # of the angle between two codes, and of codes: below it there is no arc


def on_the_way(a: Tensor, b: Tensor, share: Tensor, semantic_dims: int) -> Tensor:
    """Codes (n, dims) between two others each, (n, dims), at shares (n, 1) of the way that morphs take.

    Each half turns while its length goes evenly: `train.interpolation`, path slerp, for many codes at a time.
    """
    halves = (slice(0, semantic_dims), slice(semantic_dims, None))
    return torch.cat([_slerp(a[:, half], b[:, half], share) for half in halves], dim=1)


def _slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    length_a, length_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    lengths = (length_a * length_b).clamp_min(SMALLEST_LENGTH)
    angle = torch.arccos(((a * b).sum(1, keepdim=True) / lengths).clamp(-1, 1))
    sine = torch.sin(angle)
    # Where two codes point the same way, or right away from each other, or one is nothing, there is no arc.
    straight = (sine < SMALLEST_SINE) | (length_a * length_b < SMALLEST_LENGTH)
    sine = torch.where(straight, torch.ones_like(sine), sine)
    length = torch.lerp(length_a, length_b, share)
    turned = torch.sin((1 - share) * angle) / sine * a / length_a.clamp_min(SMALLEST_LENGTH)
    turned = turned + torch.sin(share * angle) / sine * b / length_b.clamp_min(SMALLEST_LENGTH)
    return torch.where(straight, torch.lerp(a, b, share), turned * length)
