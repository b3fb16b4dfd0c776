"""A hyper-parameter search on scikit-learn's handwritten digits: one task scores one setting of a classifier."""

from functools import cache
from typing import Any

from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC


@cache
def digits() -> tuple[Any, Any]:
    """The 1,797 images as rows of 64 pixels, and what they show."""
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels


def evaluate(setting: dict[str, float]) -> dict[str, Any]:
    """Mean accuracy over two folds.

    Args:
        setting: ``gamma`` and ``c`` of a support vector machine.

    Returns:
        The setting with its ``accuracy`` (0 to 1) and the accuracy of each fold.
    """
    images, labels = digits()
    model = SVC(gamma=setting["gamma"], C=setting["c"])
    folds = StratifiedKFold(n_splits=2, shuffle=True, random_state=0)
    scores = cross_val_score(model, images, labels, cv=folds)
    return {**setting, "accuracy": float(scores.mean()), "folds": [float(score) for score in scores]}
