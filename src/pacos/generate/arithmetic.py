"""Sums that an instruction asks for in plain numbers, and whether the output holds the right value."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from pacos.core.records import Example

_ASKS = re.compile(
    r"^(?:please )?(?:what(?:'s| is| will be)|how much is|calculate|compute|evaluate|estimate|solve|resolve|"
    r"simplify|find|give|determine|predict|provide|return|output|multiply|divide|subtract|add|perform|do|"
    r"help me solve|answer)\b",
    re.I,
)
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_SIGNS = r"[-+*/^×÷−–]|(?<=[\d)\s])x(?=[\d(\s])"
# Numbers, signs and brackets to the end of the sentence: a letter beside them means algebra, a date or a code.
_EXPRESSION = re.compile(
    rf"(?<![\w.,^$%/-])(\(*{_NUMBER}(?:[\s()]*(?:{_SIGNS})[\s()]*{_NUMBER}\)*)+)\s*=?\s*\??[.?!\"']*$"
)
_FRACTION = re.compile(rf"{_NUMBER}/{_NUMBER}")
_WORDS = (
    (re.compile(rf"^divide ({_NUMBER}) by ({_NUMBER})\b", re.I), r"\1/\2"),
    (re.compile(rf"^multiply ({_NUMBER}) (?:by|and|times|with) ({_NUMBER})\b", re.I), r"\1*\2"),
    (re.compile(rf"^subtract ({_NUMBER}) from ({_NUMBER})\b", re.I), r"\2-\1"),
    (re.compile(rf"^add ({_NUMBER}) (?:and|to) ({_NUMBER})[.?!]*$", re.I), r"\1+\2"),
    (re.compile(rf"\bsum of ({_NUMBER}),? and ({_NUMBER})[.?!]*$", re.I), r"\1+\2"),
    (re.compile(rf"\bsum of ({_NUMBER}), ({_NUMBER}),? and ({_NUMBER})[.?!]*$", re.I), r"\1+\2+\3"),
    (re.compile(rf"\bproduct of ({_NUMBER}) and ({_NUMBER})[.?!]*$", re.I), r"\1*\2"),
    (re.compile(rf"\b({_NUMBER}) (?:multiplied by|times) ({_NUMBER})[.?!]*$", re.I), r"\1*\2"),
    (re.compile(rf"\b({_NUMBER}) divided by ({_NUMBER})[.?!]*$", re.I), r"\1/\2"),
    (re.compile(rf"\b({_NUMBER}) plus ({_NUMBER})[.?!]*$", re.I), r"\1+\2"),
    (re.compile(rf"\b({_NUMBER}) minus ({_NUMBER})[.?!]*$", re.I), r"\1-\2"),
)
_OTHER_SUM = re.compile(
    r"\b(?:from|between|slope|base|binary|hex\w*|remainder|remainders|modulo|integer division|equation with|derivative|"
    r"root|ratio|percent\w*|mixed|code|program|function|python|query|different)\b|%",
    re.I,
)
_ANSWER = re.compile(rf"[-−]?(?:{_NUMBER}|\.\d+)(?:\s?/\s?{_NUMBER})?")
_MOST_CHARACTERS = 200
# People do not ask for longer sums or larger numbers; these could take for ever, or be no float.
_MOST_BITS = 256
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def wrong_arithmetic(example: Example) -> str:
    """What the sum comes to, and the output that says otherwise; "" where no plain sum is asked for, or it is right.

    Only whole questions are read, such as "Calculate 4 + 3 x 2." or the sum as the input. An output is right where one
    of its numbers is the value, rounded to the digits that it shows; long outputs are not judged.
    """
    expression = _expression(example)
    if not expression or "remainder" in example.output:
        return ""
    if max(len(expression), len(example.output)) > _MOST_CHARACTERS:
        return ""
    value = _value(expression)
    # The numbers of the question are no answer to it.
    asked = set(re.findall(_NUMBER, expression))
    answers = [answer for answer in _ANSWER.findall(example.output) if answer not in asked]
    if value is None or not answers or any(_shows(answer, value) for answer in _ANSWER.findall(example.output)):
        return ""
    shown = str(value) if value.denominator == 1 else f"{float(value):g}"
    return f"{expression.strip()} is {shown}: {example.output}"


def _expression(example: Example) -> str:
    asked = example.instruction.strip()
    if not _ASKS.match(asked) or _OTHER_SUM.search(asked):
        return ""
    given = example.input.strip()
    for text in (asked, given):
        for pattern, spelled in _WORDS:
            if match := pattern.search(text):
                return match.expand(spelled)
    if match := _EXPRESSION.search(given):
        return match.group(1) if match.start() == 0 else ""
    match = _EXPRESSION.search(asked)
    if match and _FRACTION.fullmatch(match.group(1)):
        return ""
    return match.group(1) if match and "=" not in asked[: match.start()] else ""


def _value(expression: str) -> Fraction | None:
    spelled = re.sub(r"(?<=[\d)\s])x(?=[\d(\s])|×", "*", expression)
    for sign, plain in (("÷", "/"), ("−", "-"), ("–", "-"), ("^", "**"), (",", "")):
        spelled = spelled.replace(sign, plain)
    spelled = re.sub(r"(?<=[\d)])\s*\(", "*(", spelled)
    try:
        value = _evaluate(ast.parse(spelled.strip(), mode="eval").body)
        float(value)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value


def _evaluate(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return Fraction(str(node.value))
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if max(number.bit_length() for side in (left, right) for number in side.as_integer_ratio()) > _MOST_BITS:
            raise ValueError("no number that anyone asks for")
        if isinstance(node.op, ast.Pow) and right.denominator == 1 and 0 <= right <= 20:
            return left ** int(right)
        if type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](left, right)
    raise ValueError("no plain sum")


def _shows(answer: str, value: Fraction) -> bool:
    plain = answer.replace(",", "").replace("−", "-").replace(" ", "")
    if "/" in plain:
        above, below = plain.split("/")
        return Fraction(below) != 0 and Fraction(above) / Fraction(below) == value
    shown_digits = len(plain.partition(".")[2])
    tolerance = Fraction(0) if value.denominator == 1 else max(Fraction(1, 10**shown_digits), abs(value) / 10**9)
    # A hyphen before a number may be a dash: the sign is not held against it.
    return abs(abs(Fraction(plain)) - abs(value)) <= tolerance
