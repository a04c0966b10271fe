"""How well the audit's checks find the true defects of the released Alpaca data, against labels made by eye.

`python benchmarks/audit_released.py ALPACA_DATA.json`

Recall, by check: of the records that a loose search of its own brings up (LOOSE; over 150 of them, a seeded sample),
each was read and judged, and the check should flag those that have the defect. False alarms: of 300 records drawn by
seed and all read, those flagged that have no defect. audit_truth.json holds the verdicts, as record numbers only, and
says what was read before and what after the checks were written.
"""

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

from pacos.core.records import Example, read_examples
from pacos.generate.defects import CHECKS

TRUTH = Path(__file__).with_name("audit_truth.json")
LEAST_RECALL, MOST_FALSE_ALARMS = 0.9, 0.005
Search = Callable[[Example], bool]


def _finds(pattern: str, field: str) -> Search:
    expression = re.compile(pattern, re.I | re.M)
    return lambda example: expression.search(getattr(example, field)) is not None


def _ends(*patterns: str) -> Search:
    expression = re.compile("|".join(patterns))
    return lambda example: expression.search(example.output.strip()) is not None


def _is_short_output(example: Example) -> bool:
    output = example.output.strip()
    says_nothing = re.search(r"no\W*output|noinput|\bn/?a\b|\bnone\b|empty|no response|<", output, re.I)
    return (len(output) < 3 and not output.isalnum()) or (len(output.split()) <= 4 and says_nothing is not None)


def _is_short_input(example: Example) -> bool:
    text = example.input.strip()
    says_nothing = re.search(
        r"no\W{0,3}_?in?put|\bn\s*/?\s*a\b|\bnone\b|not (?:applicable|needed|required)|\bnothing\b|\bempty\b|"
        r"n[oi]n?put|no (?:further|additional|specific|other|particular|text|data|context|information)",
        text,
        re.I,
    )
    return (says_nothing is not None and len(text.split()) < 9) or (0 < len(text) <= 2 and not text.isalnum())


def _may_stand_for_something(example: Example) -> bool:
    stands = re.search(
        r"\b(?:insert|attach|paste|image|photo|picture|screenshot|placeholder|see (?:above|below)|above|below|provided|"
        r"link|video|audio|your (?:text|name)|text of|content of|article|passage|given (?:text|article))\b|"
        r"^\W*(?:text|paragraph|sentence|input|story|poem|code|document|data|table)\W*$|"
        r"^[<\[({][^<>\[\](){}]*[>\])}]\W*$|\.\.\.|xxx|lorem",
        example.input,
        re.I,
    )
    return stands is not None and len(example.input.split()) <= 25


def _all(example: Example) -> str:
    return "\n".join((example.instruction, example.input, example.output))


def _says_marker(example: Example) -> bool:
    marked = any(
        re.search(r"no\W?(?:in|out)put\b|</?(?:in|out)put>", t, re.I) for t in (example.instruction, example.output)
    )
    return marked or ("noinput" in example.input.lower() and len(example.input.split()) > 1)


def _is_sum(example: Example) -> bool:
    asked = re.search(
        r"\d\s*(?:[-+*/x×÷^]|plus|minus|times|divided by|multiplied by|subtract|add)\s*\(?\d|"
        r"(?:subtract|add|multiply|divide)\s+-?\d|(?:sum|product) of \d|difference (?:between|of) \d|"
        r"(?:square|cube) (?:root )?of \d|\d+%? of \d|percent of \d|sum of \(",
        f"{example.instruction}\n{example.input[:80]}",
        re.I,
    )
    is_short = len(example.input.split()) < 12 and len(example.output) < 200
    return asked is not None and is_short and re.search(r"\d", example.output) is not None


def _points_at_nothing(example: Example) -> bool:
    points = re.search(
        r"\b(?:the following|given|below|provided|attached|this|these) (?:\w+ ){0,2}(?:sentence|paragraph|text|article|"
        r"passage|story|poem|words|list|code|statement|phrase|table|data|data ?set|numbers|array|string|email|essay|"
        r"document|equation|review|items|conversation|dialogue|input|quote|tweet|question|problem|function|product|"
        r"photo|recipe)s?\b",
        example.instruction,
        re.I,
    )
    return not example.input.strip() and points is not None and not re.search(r"[:\"“”'\n]|\d", example.instruction)


def _repeats(example: Example) -> bool:
    output = example.output.strip()
    return len(output.split()) > 2 and output in (example.instruction.strip(), example.input.strip())


def _starts_oddly(example: Example) -> bool:
    words = "A|I|In|If|To|Is|Do|We|My|On|It|At|As|Be|By|Go|He|Of|Or|So|Up|Am|No|An|Me|Us"
    first = re.match(r"\S{1,2} [a-z]+", example.instruction)
    return first is not None and not re.match(rf"(?:{words}) ", example.instruction)


LOOSE: dict[str, Search] = {
    "empty_output": _is_short_output,
    "placeholder_output": _is_short_output,
    "refusal": _finds(
        r"\bas an? (?:ai|language|artificial|gpt|assistant)|i'?m sorry|i am sorry|sorry,|apolog|\bgpt\b.{0,40}(?:"
        r"cannot|can't|unable|not able)|(?:cannot|can't|unable to|not able to|not possible|impossible to) (?:be )?(?:"
        r"complete|perform|generat|creat|produc|draw|display|provide|answer|visual|access|process|determin|translat|"
        r"do this|execut)|language model|no output|nooutput|not applicable|visual output|unable to",
        "output",
    ),
    "no_input_spelling": _is_short_input,
    "leaked_marker": _says_marker,
    "placeholder_input": _may_stand_for_something,
    "url_input": _finds(r"://|www\b|\.(?:com|org|net|edu|gov|io|html?|jpe?g|png|pdf)\b", "input"),
    "merged_record": lambda e: bool(
        re.search(r"instruction\s*\d*\s*:|###|\d+\s*[.)]\s*(?:instruction|input|output)\s*:", _all(e), re.I)
    ),
    "list_stops_at_19": _ends(r"(?:^|\W)19\s*[.):-][^\n]*\Z"),
    "ends_in_20": _ends(r"20\W*\Z"),
    "cut_output": _ends(
        r"\b(?:the|a|an|of|to|and|or|with|in|for|by|is|are|was|that|which|from|as|at|on|their|its|be|this|it|can|will|"
        r"has|have)\Z",
        r"\b(?:about|approximately|equals?|than|between|least|age|over|under|around|nearly|almost|only|these|those|into|"
        r"would|should|may|but|because|if|when|where|how|not|very|more|your|our|my|had|were|being|roughly|up|total|"
        r"exactly|just|plus|minus|times|until|since|per|within|every|after|before|during)\Z",
        r"[,:;(\[{–—=$€£#+*&~-]\Z",
        r"\b[a-z]{1,2}\Z",
    ),
    "lost_formatting": _finds(
        r"\bunderlin|\bbold|italic|highlight|\bcolou?red\b|\bcircled\b|strikethrough|\bstrike\b|\barrow|"
        r"\bemphasi[sz]ed|\bmarked\b|capitali[sz]ed word|in red\b",
        "instruction",
    ),
    "missing_input": _points_at_nothing,
    "wrong_arithmetic": _is_sum,
    "output_equals_input": _repeats,
    "stray_number": _finds(r"\n\s*\d+\s*[.):]*\s*\Z", "output"),
    "split_word": _starts_oddly,
}


def main(path: Path) -> None:
    """Prints the table and the two bounds."""
    truth = json.loads(TRUTH.read_text())
    examples = read_examples(path)
    flagged = {
        check.name: {number for number, example in enumerate(examples, start=1) if check.find(example)}
        for check in CHECKS
    }
    print(f"{'check':20} candidates   read  defects  found  recall  read and sound, yet flagged  all flagged")
    found = defects = 0
    for name, verdicts in truth["kinds"].items():
        candidates = sum(map(LOOSE[name], examples))
        true, sound = set(verdicts["defect"]), set(verdicts["sound"])
        hit = len(true & flagged[name])
        found, defects = found + hit, defects + len(true)
        print(
            f"{name:20} {candidates:10,} {len(true | sound):6} {len(true):8} {hit:6} {hit / len(true):7.1%} "
            f"{len(sound & flagged[name]):28} {len(flagged[name]):12,}"
        )
    print(f"\nrecall over all kinds: {found} of {defects} ({found / defects:.1%}; bound {LEAST_RECALL:.0%})")
    _false_alarms(truth["sample"], len(examples), flagged)
    _after(truth["after"], flagged)


def _false_alarms(sample: dict, records: int, flagged: dict[str, set[int]]) -> None:
    drawn = random.Random(sample["seed"]).sample(range(1, records + 1), sample["size"])
    with_defect = {int(number): kinds for number, kinds in sample["defects"].items()}
    false = {
        number: checks
        for number in sorted(drawn)
        if number not in with_defect and (checks := [name for name, numbers in flagged.items() if number in numbers])
    }
    missed = [(number, kind) for number, kinds in with_defect.items() for kind in kinds if number not in flagged[kind]]
    share = len(false) / len(drawn)
    print(
        f"false alarms in {len(drawn)} records drawn by seed: {len(false)} ({share:.2%}; bound under "
        f"{MOST_FALSE_ALARMS:.1%}) {false or ''}\ntheir defects found: {len(with_defect) - len(missed)} of "
        f"{len(with_defect)} {missed or ''}"
    )


def _after(after: dict, flagged: dict[str, set[int]]) -> None:
    print("\nread after the checks were written: flagged records that are sound, unflagged ones that are not")
    for name, verdicts in after["kinds"].items():
        judged = set(verdicts["flagged"])
        false = set(verdicts["flagged_sound"])
        print(
            f"{name:20} {len(false & judged):3} of {len(judged):3} flagged sound when read "
            f"({len(false & flagged[name])} still flagged); "
            f"{len(verdicts['unflagged_defect']):2} of {len(verdicts['unflagged']):3} unflagged with the defect"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
