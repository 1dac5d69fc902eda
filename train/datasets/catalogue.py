"""The data sets that are known by name: what they are, which files hold them, and where those come from.

Light: it is read by commands that only list or download. Nothing is downloaded unless `lookalike datasets get` is
called; the terms are those of the people who made a set, and none of it is part of Lookalike.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.errors import SettingsError

Kind = Literal["sheets", "npz", "idx", "cifar_binary", "cifar_python", "folders", "faces"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """One official file, and the digest that its makers, or a library that everybody uses, publish."""

    file: str  # below the folder of data sets
    urls: tuple[str, ...]  # the same file at each; the next is asked where one does not answer
    digest: str  # hexadecimal
    algorithm: Literal["md5", "sha256"]
    size: int | None = None  # bytes, where known


@dataclass(frozen=True, kw_only=True)
class Form:
    """Files that hold a data set, all of them needed, and how they are read."""

    kind: Kind
    files: tuple[str, ...]  # below the folder of data sets


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A data set that is known by name."""

    name: str
    what: str
    labels: str
    terms: str
    page: str  # where people read about it
    forms: tuple[Form, ...]  # the first one that is there is read
    downloads: tuple[Download, ...] = ()  # empty: to be fetched by hand

    def present(self, folder: Path) -> Form | None:
        """The form of which all files are there."""
        for form in self.forms:
            if all((folder / file).is_file() for file in form.files):
                return form
        return None

    def how_to_get(self, folder: Path) -> str:
        """One sentence for whoever does not have it."""
        files = dict.fromkeys(_short(form.files) for form in self.forms)
        place = f"put {' or '.join(files)} into {folder} (see {self.page})"
        return f"`lookalike datasets get {self.name}` downloads it, or {place}" if self.downloads else place


def _short(files: tuple[str, ...]) -> str:
    return files[0] if len(files) == 1 else f"{files[0]} and the {len(files) - 1} files beside it"


_IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_downloads(folder: str, addresses: tuple[str, ...], digests: tuple[str, ...]) -> tuple[Download, ...]:
    return tuple(
        Download(
            file=f"{folder}/{file}",
            urls=tuple(address + file for address in addresses),
            digest=digest,
            algorithm="md5",
        )
        for file, digest in zip(_IDX, digests, strict=True)
    )


_LFW_TERMS = "research only; press photos of real people"
_LFW_PAGE = "http://vis-www.cs.umass.edu/lfw/"
_LFW = Download(
    file="lfw.tgz",
    urls=("https://ndownloader.figshare.com/files/5976018", "http://vis-www.cs.umass.edu/lfw/lfw.tgz"),
    digest="055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
    algorithm="sha256",
    size=180_566_744,
)

# Source of the digests: CIFAR-10 md5 at https://www.cs.toronto.edu/~kriz/cifar.html; (Fashion-)MNIST md5 in
# torchvision/datasets/mnist.py; LFW sha256 in sklearn/datasets/_lfw.py.
KNOWN_SETS: dict[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            name="cifar10",
            what="CIFAR-10: 50,000 + 10,000 colour photos, 32x32",
            labels="10 kinds of things",
            terms="no formal licence; cite Krizhevsky 2009",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            forms=(
                Form(kind="sheets", files=("cifar10_webp.tar",)),
                Form(kind="cifar_binary", files=("cifar-10-binary.tar.gz",)),
                Form(kind="cifar_python", files=("cifar-10-python.tar.gz",)),
            ),
            downloads=(
                Download(
                    file="cifar-10-binary.tar.gz",
                    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                    digest="c32a1d4ab5d03f1284b67883e8d87530",
                    algorithm="md5",
                    size=170_052_171,
                ),
            ),
        ),
        KnownSet(
            name="mnist",
            what="MNIST: 60,000 + 10,000 handwritten digits, grey, 28x28",
            labels="10 digits",
            terms="CC BY-SA 3.0",
            page="https://yann.lecun.com/exdb/mnist/",
            forms=(
                Form(kind="npz", files=("mnist.npz",)),
                Form(kind="idx", files=tuple(f"mnist/{file}" for file in _IDX)),
                Form(kind="idx", files=_IDX),
            ),
            downloads=_idx_downloads(
                "mnist",
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                (
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "9fb629c4189551a2d022fa330f9573f3",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
            ),
        ),
        KnownSet(
            name="fashion-mnist",
            what="Fashion-MNIST: 60,000 + 10,000 pieces of clothing, grey, 28x28",
            labels="10 kinds of clothes",
            terms="MIT",
            page="https://github.com/zalandoresearch/fashion-mnist",
            forms=(
                Form(kind="idx", files=tuple(f"fashion-mnist/{file}" for file in _IDX)),
                Form(kind="npz", files=("fashion-mnist.npz",)),
                Form(kind="npz", files=("fashion-mnist/fashion-mnist.npz",)),
            ),
            downloads=_idx_downloads(
                "fashion-mnist",
                (
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                ),
                (
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
            ),
        ),
        KnownSet(
            name="lfw32",
            what="Labeled Faces in the Wild: 13,233 faces, cut out and scaled to 32x32",
            labels="5,749 people",
            terms=_LFW_TERMS,
            page=_LFW_PAGE,
            forms=(Form(kind="sheets", files=("lfw32_webp.tar",)), Form(kind="faces", files=(_LFW.file,))),
            downloads=(_LFW,),
        ),
        KnownSet(
            name="lfw",
            what="Labeled Faces in the Wild: 13,233 photos of faces, 250x250",
            labels="5,749 people",
            terms=_LFW_TERMS,
            page=_LFW_PAGE,
            forms=(Form(kind="folders", files=(_LFW.file,)),),
            downloads=(_LFW,),
        ),
        KnownSet(
            name="corel1k",
            what="Corel-1000 (Wang): 1,000 photos, 384x256",
            labels="10 subjects",
            terms="none given; research",
            page="http://wang.ist.psu.edu/docs/related/",
            forms=(Form(kind="folders", files=("corel1k.tar",)),),
        ),
        KnownSet(
            name="caltech101",
            what="Caltech-101: 7,807 photos, shorter side 80 px; or the official 9,144, about 300x200",
            labels="99 kinds of objects; officially 101 and a background",
            terms="CC BY 4.0 (CaltechDATA)",
            page="https://data.caltech.edu/records/mzrjq-6wc02",
            forms=(
                Form(kind="folders", files=("caltech101_80px.tar",)),
                Form(kind="folders", files=("101_ObjectCategories.tar.gz",)),
            ),
        ),
    )
}


def known_set(name: str) -> KnownSet:
    """A data set by its name.

    Raises:
        SettingsError: There is none of that name; the message has the nearest ones.
    """
    if name not in KNOWN_SETS:
        raise SettingsError(f"there is no data set {name!r}: {nearest(name, KNOWN_SETS)}")
    return KNOWN_SETS[name]


def nearest(text: str, valid: Iterable[str]) -> str:
    """Say which of the valid names was meant: the nearest, else the first ones of all."""
    names = list(valid)
    folded = {name.casefold(): name for name in names}
    near = [folded[match] for match in difflib.get_close_matches(text.casefold(), folded, n=3)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"there are {', '.join(names[:12])}{more}."
