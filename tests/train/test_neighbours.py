"""A map to few numbers that keeps who is near whom."""

import torch
import torch.nn.functional as F

from train.interruption import stop_request
from train.neighbours import keep_neighbours
from train.progress import Reporter


def groups(seed: int) -> torch.Tensor:
    """400 rows of 48 numbers in 40 groups, whose middles differ about as much in each number."""
    random = torch.Generator().manual_seed(seed)
    middles = torch.randn(40, 48, generator=random)
    return middles.repeat_interleave(10, 0) + 0.4 * torch.randn(400, 48, generator=random)


def found_again(rows: torch.Tensor) -> float:
    """The share of the nine nearest of a row that are of its group."""
    unit = F.normalize(rows, dim=1)
    near = (unit @ unit.T).fill_diagonal_(-9).topk(9, dim=1).indices
    return float((near // 10 == torch.arange(400)[:, None] // 10).float().mean())


def test_few_numbers_keep_more_neighbours_than_the_first_of_many_do():
    rows = groups(0)
    with stop_request() as stop:
        learnt = keep_neighbours(rows, 6, 0, Reporter(), stop)
    assert learnt.shape == (6, 48)
    assert found_again(rows) > 0.95
    assert found_again(rows @ learnt.T) > found_again(rows[:, :6]) + 0.1


def test_the_same_seed_gives_the_same_map():
    rows = groups(1)
    with stop_request() as stop:
        one, other = (keep_neighbours(rows, 4, 3, Reporter(), stop) for _ in range(2))
    assert torch.equal(one, other)
