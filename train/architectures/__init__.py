"""The networks that a recipe can name: one module each, with its settings, and its name in the table here."""

from train.architectures.autoencoder import Architecture, Autoencoder
from train.architectures.convolutional import Convolutional
from train.architectures.dense import Dense
from train.architectures.linear import Linear
from train.architectures.principal import Principal
from train.architectures.similarity import Similarity
from train.architectures.spatial import Spatial

ARCHITECTURES: dict[str, type[Architecture]] = {
    each.kind: each for each in (Principal, Similarity, Linear, Dense, Convolutional, Spatial)
}

__all__ = ["ARCHITECTURES", "Architecture", "Autoencoder"]
