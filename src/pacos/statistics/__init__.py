"""Win rates, intervals, agreement and tests, from numpy and scipy alone."""

from pacos.statistics.agreement import cohen_kappa, krippendorff_alpha
from pacos.statistics.bootstrap import bootstrap_interval
from pacos.statistics.proportions import (
    Interval,
    chance_corrected,
    clopper_pearson,
    sign_test,
    wilson,
)
from pacos.statistics.win_rates import PreferenceEstimate, WinRate, preference_win_rate, win_rate

__all__ = [
    "Interval",
    "PreferenceEstimate",
    "WinRate",
    "bootstrap_interval",
    "chance_corrected",
    "clopper_pearson",
    "cohen_kappa",
    "krippendorff_alpha",
    "preference_win_rate",
    "sign_test",
    "wilson",
    "win_rate",
]
