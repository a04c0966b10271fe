"""Win rates, intervals, agreement, rankings, tests and sample sizes, from numpy and scipy alone."""

from pacos.statistics.agreement import (
    cohen_kappa,
    cohen_kappa_interval,
    fleiss_kappa,
    fleiss_kappa_interval,
    krippendorff_alpha,
    krippendorff_alpha_interval,
)
from pacos.statistics.bootstrap import bootstrap_interval, ratio_interval
from pacos.statistics.clusters import Estimate, clustered_mean, clustered_win_rate, slot_effect_estimate
from pacos.statistics.equivalence import Equivalence, clustered_equivalence_test, equivalence_test
from pacos.statistics.forecast import Forecast, forecast_hits
from pacos.statistics.misclassification import CorrectedRate, rogan_gladen
from pacos.statistics.multiplicity import holm
from pacos.statistics.power import (
    design_effect,
    detectable_preference,
    equivalence_power,
    items_for_equivalence,
    items_to_tell_apart,
    sign_test_power,
)
from pacos.statistics.proportions import (
    Interval,
    chance_corrected,
    clopper_pearson,
    rate_difference,
    sign_test,
    wilson,
)
from pacos.statistics.rankings import Comparison, Contrast, RankedModel, Ranking, rank_models
from pacos.statistics.sequential import sequential_evidence, sequential_interval, sequential_p_value
from pacos.statistics.win_rates import PreferenceEstimate, WinRate, preference_win_rate, win_rate
from pacos.statistics.wording import MARGIN, Claim, claims

__all__ = [
    "MARGIN",
    "Claim",
    "Comparison",
    "Contrast",
    "CorrectedRate",
    "Equivalence",
    "Estimate",
    "Forecast",
    "Interval",
    "PreferenceEstimate",
    "RankedModel",
    "Ranking",
    "WinRate",
    "bootstrap_interval",
    "chance_corrected",
    "claims",
    "clopper_pearson",
    "clustered_equivalence_test",
    "clustered_mean",
    "clustered_win_rate",
    "cohen_kappa",
    "cohen_kappa_interval",
    "design_effect",
    "detectable_preference",
    "equivalence_power",
    "equivalence_test",
    "fleiss_kappa",
    "fleiss_kappa_interval",
    "forecast_hits",
    "holm",
    "items_for_equivalence",
    "items_to_tell_apart",
    "krippendorff_alpha",
    "krippendorff_alpha_interval",
    "preference_win_rate",
    "rank_models",
    "rate_difference",
    "ratio_interval",
    "rogan_gladen",
    "sequential_evidence",
    "sequential_interval",
    "sequential_p_value",
    "sign_test",
    "sign_test_power",
    "slot_effect_estimate",
    "wilson",
    "win_rate",
]
