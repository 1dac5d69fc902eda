"""How good a model is on pictures: with labels, with copies made of the pictures themselves, and without either."""
