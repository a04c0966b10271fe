"""What 90 wins to 89 shows, and GPT-4's judgments of the same instructions, as docs/findings/on-par.md reports.

    python benchmarks/on_par.py DATA

DATA is the folder of shared data: Self-Instruct's 252 instructions and AlpacaEval's published judgments by GPT-4.
"""

import json
import sys
from math import ceil
from pathlib import Path

from scipy.stats import binom

from pacos.statistics import (
    clopper_pearson,
    design_effect,
    detectable_preference,
    equivalence_power,
    equivalence_test,
    items_for_equivalence,
    items_to_tell_apart,
    sequential_interval,
    sign_test,
    sign_test_power,
    wilson,
    win_rate,
)

MARGINS = (0.03, 0.05, 0.1)


def points(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}%"


def compared(name: str, wins: int, losses: int, ties: int) -> None:
    """One comparison by every test that the finding quotes."""
    found, decisive = win_rate(wins, losses, ties), wins + losses
    print(f"\n{name}: {wins} wins, {losses} losses, {ties} ties")
    print(f"  win rate, ties as half: {100 * found.rate:.1f}% ({points(found.interval)}, Tango)")
    print(f"  of decisive votes: {100 * wins / decisive:.1f}% ({points(wilson(wins, decisive))}, Wilson;")
    print(f"    {points(clopper_pearson(wins, decisive))}, Clopper and Pearson;", end=" ")
    print(f"{points(sequential_interval(wins, losses))}, if looked at after every vote)")
    print(f"  sign test p = {sign_test(wins, losses):.2g}")
    for margin in MARGINS:
        tested = equivalence_test(wins, losses, ties, margin=margin)
        chance = equivalence_power(decisive + ties, margin, ties / (decisive + ties))
        print(f"  on par within {100 * margin:.0f} points: {tested.equivalent}, p = {tested.p_value:.3g}", end="; ")
        print(f"such a study of equals shows it in {chance:.0%}")
    low, high = tested.interval
    print(f"  90% interval {points((low, high))}: on par within {100 * max(0.5 - low, high - 0.5):.1f} points at best")


def sizes() -> None:
    """What a study has to be."""
    print("\nthe least true preference found with 80% power, by decisive votes:")
    for votes in (179, 252, 805):
        print(f"  {votes}: {100 * detectable_preference(votes):.1f}%")
    print(f"  179 votes find a true 55% with {sign_test_power(179, 0.55):.0%} power, 60% with", end=" ")
    print(f"{sign_test_power(179, 0.6):.0%}, 65% with {sign_test_power(179, 0.65):.0%}")
    for rate in (0.45, 63 / 244):
        print(f"  a true {rate:.1%} wins at least 90 of 179 in a share of {binom.sf(89, 179, rate):.2g}")
    print("items to tell apart with 80% power:", end=" ")
    print(", ".join(f"{100 * p:.0f}%: {items_to_tell_apart(p):,}" for p in (0.52, 0.55, 0.6, 0.65)))
    print("items to show equals on par, one vote each; with five votes an item that correlate by 0.4 (votes):")
    for margin in MARGINS:
        for ties in (0.0, 0.2):
            for power in (0.8, 0.9):
                items = items_for_equivalence(margin, ties, power=power)
                five = ceil(items * design_effect(5, 0.4) / 5)
                design = f"within {100 * margin:.0f} points, {ties:.0%} ties, power {power:.0%}"
                print(f"  {design}: {items:,}; {five:,} ({5 * five:,})")
    print("  a true rate of 52% within 5 points, power 80%:", f"{items_for_equivalence(0.05, rate=0.52):,}")


def main() -> None:
    """Prints both comparisons and the sizes."""
    data = Path(sys.argv[1])
    compared("the announcement, five authors", 90, 89, 0)
    compared("the same, if the rest of 252 were ties", 90, 89, 73)
    lines = (data / "self_instruct" / "user_oriented_instructions.jsonl").read_text(encoding="utf-8").splitlines()
    instructions = {json.loads(line)["instruction"].strip() for line in lines}
    judged = data / "alpaca_eval" / "results" / "alpaca-7b" / "alpaca_eval_gpt4" / "annotations.json"
    rows = [row for row in json.loads(judged.read_text(encoding="utf-8")) if row["dataset"] == "selfinstruct"]
    same = sum(any(row["instruction"].strip().startswith(each) for each in instructions) for row in rows)
    preferences = [row["preference"] for row in rows]
    ties = [row for row in rows if row["preference"] not in (1, 2)]
    alike = sum(row["output_1"] == row["output_2"] for row in ties)
    lengths = [sum(len(row[side]) for row in rows) / len(rows) for side in ("output_1", "output_2")]
    wins, losses = preferences.count(2), preferences.count(1)
    compared("GPT-4 (AlpacaEval 1)", wins, losses, len(ties))
    print(f"  {len(rows)} judgments, {same} on Self-Instruct's {len(lines)} instructions; {alike} ties are equal texts")
    print(f"  mean characters: {rows[0]['generator_1']} {lengths[0]:.0f}, {rows[0]['generator_2']} {lengths[1]:.0f}")
    sizes()


if __name__ == "__main__":
    main()
