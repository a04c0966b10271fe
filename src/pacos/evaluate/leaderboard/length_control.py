"""AlpacaEval's length-controlled win rate (Dubois et al. 2024): from published weights, and fitted again.

P(the model wins item i) = sigmoid(a tanh(z_i) + b difficulty_i + c), where z_i is the baseline's length less the
model's, over its standard deviation. The rate is the mean of sigmoid(b difficulty_i + c): as if lengths were equal.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from pacos.evaluate.leaderboard.annotations import Floats
from pacos.evaluate.leaderboard.published import GamedBaselines, LengthControlWeights

# Within this of zero the penalty's kink is rounded, so that Newton's method applies.
ROUNDED_WITHIN = 1e-6


def length_controlled_rate(weights: LengthControlWeights, difficulty: Floats) -> float:
    """The rate in percent."""
    return float(100 * expit(weights.difficulty * difficulty + weights.model).mean())


def fit_weights(
    wins: Floats, length_differences: Floats, difficulty: Floats, baselines: GamedBaselines, all_difficulties: Floats
) -> LengthControlWeights | None:
    """The weights that fit a model's `wins` and the gamed baselines' rows best under AlpacaEval's L1 penalty.

    AlpacaEval chooses the penalty by cross-validation over rows that were not published; here it is always the
    weakest of its grid. None where lengths never differ, and so nothing can be controlled for.
    """
    spread = length_differences.std()
    if not spread > 0:
        return None
    own = np.column_stack([np.tanh(length_differences / spread), difficulty, np.ones_like(wins)])
    extra = np.concatenate([np.column_stack([tanh, all_difficulties, 0 * tanh]) for tanh in baselines.lengths.T])
    features = np.concatenate([own, extra])
    row_weights = np.repeat([1.0, baselines.row_weight], [len(own), len(extra)])
    won = own.T @ wins + [baselines.weighted_wins_by_length, baselines.weighted_wins_by_difficulty, 0.0]
    penalty = 1 / baselines.inverse_penalty

    def loss(w: Floats) -> float:
        return float(
            row_weights @ np.logaddexp(0, features @ w) - won @ w + penalty * np.hypot(w, ROUNDED_WITHIN).sum()
        )

    def gradient(w: Floats) -> Floats:
        slope: Floats = features.T @ (row_weights * expit(features @ w)) - won
        return slope + penalty * w / np.hypot(w, ROUNDED_WITHIN)

    def hessian(w: Floats) -> Floats:
        chance = expit(features @ w)
        curvature: Floats = (features.T * (row_weights * chance * (1 - chance))) @ features
        return curvature + np.diag(penalty * ROUNDED_WITHIN**2 / np.hypot(w, ROUNDED_WITHIN) ** 3)

    fitted = minimize(loss, np.zeros(3), jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-8})
    return LengthControlWeights(*map(float, fitted.x))
