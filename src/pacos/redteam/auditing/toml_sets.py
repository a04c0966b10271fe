"""Sets in pacos's own form: TOML files with probes and their judge, or with pairs of sentences."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text, sha256_text
from pacos.core.keys import checked
from pacos.core.keys import key as _key
from pacos.engines import Message
from pacos.judging.linear_regex import Finds, compile_linear, encodable
from pacos.judging.offline import OfflineJudge, Scored, offline_judge
from pacos.redteam.auditing.probe_sets import PairSet, Probe, ProbeSet, SentencePair, judge_by_prompt

PROBES = Path(__file__).parent / "probes"
OWN_SOURCE = "pacos's own set"
BY_PATTERNS = "patterns"


@dataclass(frozen=True)
class _ProbesKeys:
    """The keys of a [[probes]] table."""

    prompts: tuple[str, ...] = _key(())
    """What is asked, a text each."""
    group: str = _key("")
    """Under which name they are counted."""
    question: str = _key("")
    """What they all ask, where they are phrasings of one question."""
    hit: str = _key("")
    """A pattern of an answer that is a hit; without one an answer that is not `safe` is."""
    safe: str = _key("")
    """A pattern of an answer that is none, whatever else it says; with both, one that has neither is unscored."""


@dataclass(frozen=True)
class _PairsKeys:
    """The keys of a [[pairs]] table: pairs of one template."""

    sentences: tuple[tuple[str, str], ...] = _key(())
    """[the sentence that the stereotype expects, the other]."""
    group: str = _key("")
    """Under which name they are counted."""


@dataclass(frozen=True)
class _SetKeys:
    """The keys of a set's TOML file."""

    about: str = _key("")
    failure: str = _key("")
    judge: str = _key("")
    probes: tuple[_ProbesKeys, ...] = _key(())
    pairs: tuple[_PairsKeys, ...] = _key(())


def own_sets() -> list[ProbeSet | PairSet]:
    """The sets of probes that come along, by name."""
    return [read_toml_set(path.stem, path, OWN_SOURCE) for path in sorted(PROBES.glob("*.toml"))]


def read_toml_set(name: str, path: Path, source: str) -> ProbeSet | PairSet:
    """A set in pacos's own form; PacosError where the file is none."""
    text = read_text(path, "set of probes")
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PacosError(f"{path}: not TOML: {error}. A set holds about, failure, judge and [[probes]].") from None
    keys = _SetKeys(**{key: checked(str(path), _SetKeys, "set", key, value) for key, value in document.items()})
    if bool(keys.probes) == bool(keys.pairs) or not (keys.about and keys.failure):
        raise PacosError(f"{path}: expected about, failure, and either [[probes]] or [[pairs]]. Write them there.")
    if keys.pairs:
        pairs = tuple(
            SentencePair(*sentences, table.group, f"{number}")
            for number, table in enumerate(keys.pairs)
            for sentences in table.sentences
        )
        return PairSet(name, keys.about, keys.failure, source, sha256_text(text), pairs)
    probes = tuple(
        Probe((Message("user", prompt),), table.group, table.question)
        for table in keys.probes
        for prompt in table.prompts
    )
    if not probes:
        raise PacosError(f"{path}: no prompt in it; expected prompts in each [[probes]]. Write them there.")
    return ProbeSet(name, keys.about, keys.failure, source, sha256_text(text), _judge(path, keys), probes)


def _judge(path: Path, keys: _SetKeys) -> OfflineJudge:
    with_patterns = [table for table in keys.probes if table.hit or table.safe]
    if keys.judge and not with_patterns:
        return offline_judge(keys.judge)
    if keys.judge or len(with_patterns) < len(keys.probes):
        raise PacosError(
            f"{path}: expected a judge, or else hit, safe or both in every [[probes]]. Write one of these."
        )
    patterns = {prompt: (table.hit, table.safe) for table in with_patterns for prompt in table.prompts}
    return pattern_judge(str(path), patterns)


def pattern_judge(where: str, patterns: Mapping[str, tuple[str, str]]) -> OfflineJudge:
    """A judge that knows for each prompt the patterns of a hit and of a safe answer, either of which may be "".

    `where` begins the error's line where one is none.
    """
    # Many prompts may share their patterns, and compiling takes its time.
    compiled = {both: _patterns(where, *both) for both in set(patterns.values())}
    finds = "what each question's own patterns name, and no other words for it"
    return judge_by_prompt(BY_PATTERNS, finds, {prompt: compiled[both] for prompt, both in patterns.items()})


def _patterns(where: str, hit: str, safe: str) -> Callable[[str], Scored]:
    is_hit, is_safe = (_finds(pattern, where) for pattern in (hit, safe))

    def judged(answer: str) -> Scored:
        text = encodable(answer)
        if is_safe and is_safe(text):
            return Scored("safe", 0.0, "matches the pattern of a safe answer")
        if is_hit is None or is_hit(text):
            said = "matches the pattern of a hit" if is_hit else "does not match the pattern of a safe answer"
            return Scored("hit", 1.0, said)
        if is_safe:
            return Scored("unscored", None, "matches neither the pattern of a hit nor that of a safe answer")
        return Scored("safe", 0.0, "does not match the pattern of a hit")

    return judged


def _finds(pattern: str, where: str) -> Finds | None:
    return compile_linear(encodable(pattern), where) if pattern else None
