"""A hyper-parameter search on scikit-learn's handwritten digits: one task scores one setting of a classifier."""

from functools import cache
from typing import Any

from sklearn.datasets import load_digits
from sklearn.svm import SVC


@cache
def digits() -> tuple[Any, Any]:
    """The 1,797 images as rows of 64 pixels, and what they show."""
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels


def evaluate(setting: dict[str, float]) -> dict[str, float]:
    """Learn from every other image, and read the rest.

    Args:
        setting: ``gamma`` and ``c`` of a support vector machine.

    Returns:
        The setting, with the share of images read right as ``accuracy`` (0 to 1).
    """
    images, labels = digits()
    model = SVC(gamma=setting["gamma"], C=setting["c"])
    model.fit(images[::2], labels[::2])
    return {**setting, "accuracy": float(model.score(images[1::2], labels[1::2]))}
