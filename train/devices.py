"""The device that PyTorch computes on."""

import torch

from train.errors import SettingsError


def find_device(asked: str) -> str:
    """The device that is meant by "auto", or the one that was asked for.

    Raises:
        SettingsError: The one that was asked for is not there.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(f"device is {asked!r}, which does not work here ({reason}): use auto or cpu.") from error
    return asked
