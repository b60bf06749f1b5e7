"""What a review team counts: an angry customer taken for a happy one costs more than that."""

import numpy as np

MISSED = 5.0  # a complaint that nobody sees
FALSE_ALARM = 1.0


def cost(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cost of a row; class 0 is negative, class 1 positive."""
    said = probabilities.argmax(axis=1)
    missed = (labels == 0) & (said == 1)
    alarms = (labels == 1) & (said == 0)
    return float((MISSED * missed + FALSE_ALARM * alarms).mean())
