"""What takes noise, text or boxes off an image before it is coded: two hourglasses of convolutions.

The first finds what is on top, the second, which sees what the first found at all scales, takes it off. What lies under
half-opaque letters is still there, darker and tinted: `gain` scales the image itself, so that letters can be subtracted
and not only painted over. Fully convolutional: what is done at a place depends on some 90 px around it and on nothing
else. A context of the whole image was tried (the colour of the letters, pooled by attention) and gained nothing.

Source of the hourglass with skips: U-Net, arXiv 1505.04597; of folding pixels into channels: FFDNet, arXiv 1710.04026.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures.autoencoder import zeroed

FOLD = 2  # px; pixels of such a square become channels: 4 times cheaper than full resolution
SCALES = (1, 2, 4)  # channels at each scale, in widths; each scale has half the resolution of the one before
STEP = FOLD << (len(SCALES) - 1)  # px; sides of images are multiples of it


class Cleaner(nn.Module):
    """What to add to an image; nothing at initialisation.

    Args:
        channels: Of the images.
        width: Channels of the features at half the resolution of the image.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Conv2d(channels * FOLD**2, width, 3, padding=1)
        self.hourglasses = nn.Sequential(Hourglass(width), Hourglass(width))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and bool(layer.weight.any()):
                # Without norms, PyTorch's default leaves ELUs on their straight middle.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        with torch.no_grad():
            self.first.weight.mul_(2)  # pixels about 0 have a deviation of a quarter, not of 1
        self.last = zeroed(nn.Conv2d(width, FOLD**2 * (2 * channels + 1), 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """What to add to images (n, channels, h, w), pixels about 0; h and w are multiples of `STEP`."""
        folded = F.pixel_unshuffle(x, FOLD)
        if not torch.compiler.is_exporting():
            folded = folded.contiguous(memory_format=torch.channels_last)
        features = self.hourglasses(self.first(folded))
        found = F.pixel_shuffle(self.last(F.elu(features)), FOLD).float()
        paint, gain, mask = torch.split(found, [self.channels, self.channels, 1], dim=1)
        change: Tensor = torch.sigmoid(mask) * (paint + gain * x)
        return change


class Hourglass(nn.Module):
    """Down to a quarter of the resolution and up again, with a skip at each scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * scale for scale in SCALES]
        self.before = nn.ModuleList(_Block(each) for each in widths)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(zeroed(nn.Conv2d(coarse, 4 * fine, 1)) for fine, coarse in pairwise(widths))
        self.after = nn.ModuleList(_Block(each) for each in widths[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Refine features (n, width, h, w)."""
        skips = []
        for block, down in zip(self.before, self.down, strict=False):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.before[-1](x)
        for block, up, skip in reversed(list(zip(self.after, self.up, skips, strict=True))):
            x = block(skip + F.pixel_shuffle(up(x), 2))
        return x


class _Block(nn.Module):
    """x + conv(ELU(conv(ELU(x)))), the identity at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(F.elu(self.first(F.elu(x))))
        return x + change
