"""A linear map to fewer numbers that keeps neighbours: learnt from similarities alone, without labels.

The closed form (train/invariance.py) takes the directions along which images differ most from their views. Cut to few
of them it loses what many of them said together about who is near whom. Here a map to few numbers is trained so that
each image sees the others of a batch as it does with all of them: the softmax over its cosines, at a temperature, is
to be the same. That is similarity distillation (Fang et al., arXiv 2101.04731) by a linear student, and without the
temperatures stochastic neighbour embedding (Hinton and Roweis, 2002) by a linear map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from train.interruption import StopRequest
from train.progress import Reporter

STEPS = 500
BATCH = 1024  # images, each compared with all others
LEARNING_RATE = 3e-3  # of Adam, falling to 0 in a straight line
TEACHER_TEMPERATURE = 0.05  # sharper than the student's: it is the nearest that are to be kept
STUDENT_TEMPERATURE = 0.1


@torch.enable_grad()
def keep_neighbours(teacher: Tensor, dims: int, seed: int, reporter: Reporter, stop: StopRequest) -> Tensor:
    """Learn a map that keeps who is near whom.

    Args:
        teacher: Numbers of images, the most telling first: (n, numbers).
        dims: How many are to be left.
        seed: Of the batches.
        reporter: Told how far it is.
        stop: Looked at between two steps.

    Returns:
        (dims, numbers): it begins as the first `dims` numbers themselves.
    """
    count, numbers = teacher.shape
    size = teacher.square().mean().sqrt().clamp_min(1e-12)
    seen = F.normalize(teacher, dim=1)
    weight = torch.eye(dims, numbers, requires_grad=True)
    optimizer = torch.optim.Adam([weight], LEARNING_RATE)
    random = torch.Generator().manual_seed(seed)
    with reporter.task("keeping neighbours", STEPS, "steps") as task:
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
            chosen = torch.randperm(count, generator=random)[:BATCH]
            kept = F.normalize(teacher[chosen] / size @ weight.T, dim=1)
            loss = _difference(seen[chosen], kept)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            task.advance(1)
            stop.raise_if_set("the map was not found yet: the same command begins it anew.")
    return weight.detach()


def _difference(teacher: Tensor, student: Tensor) -> Tensor:
    """Divergence of who is near whom, as unit vectors (n, numbers) and (n, dims) have it."""
    itself = torch.eye(len(teacher), dtype=torch.bool)

    def others(vectors: Tensor, temperature: float) -> Tensor:
        return (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)

    wanted = F.softmax(others(teacher, TEACHER_TEMPERATURE), dim=1)
    found = F.log_softmax(others(student, STUDENT_TEMPERATURE), dim=1)
    return F.kl_div(found.masked_fill(itself, 0), wanted, reduction="batchmean")
