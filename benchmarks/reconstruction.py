"""How well a run paints held-out images, beside PCA with as many dimensions.

    python -m benchmarks.reconstruction FOLDER [--minutes 5] [--image-size 64] [--dims 256]

Trains in a temporary folder. The images that are measured on were neither trained on nor used to choose the checkpoint.
Both reconstructions are clipped to [0, 1], and PCA is found on the same training images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--dims", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        train(arguments, Path(home))
        print_reconstruction(Path(home) / "runs" / "measured")


def train(arguments: argparse.Namespace, home: Path) -> None:
    words = [str(arguments.folder), "--home", str(home), "--name", "measured", "--minutes", str(arguments.minutes)]
    words += ["--image-size", str(arguments.image_size), "--dims", str(arguments.dims), "--max-bad", "1"]
    subprocess.run([sys.executable, "-m", "train", *words], check=True, stdout=subprocess.DEVNULL)


def print_reconstruction(run_folder: Path) -> None:
    from train.run import Run

    run = Run.open(run_folder)
    result = run.result
    assert result is not None and run.plan is not None
    print(json.dumps({**result, "epochs": round(run.plan.epochs, 2), "precision": run.plan.precision}))
    print(f"held-out MSE   ours {result['test_mse']:.6f}   PCA-{result['dims']} {result['pca_test_mse']:.6f}")
    print(f"ratio {result['ratio']:.4f}   PSNR {result['psnr']:.2f} dB   ({result['test_images']} images)")


if __name__ == "__main__":
    main()
