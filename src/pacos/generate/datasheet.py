"""The datasheet: what a reader of the data set must know, filled from the run's own numbers."""

from pacos.core.recipe import Recipe
from pacos.generate.ledger import Totals
from pacos.generate.pool import Pool

_TERMS = {
    "builtin": (
        "The teacher is pacos's own rule-based stand-in, no language model; its replies may be used under the "
        "licence of pacos (Apache-2.0)."
    ),
    "http": (
        "The replies come from a model behind a server. Its provider's terms govern what may be done with them: many "
        "forbid training models that compete with theirs. Read them before you publish or use this data."
    ),
    "local": (
        "The replies come from a model run from its weights. The licence of those weights governs what may be done "
        "with its output. Read it before you publish or use this data."
    ),
}
_RULES = {
    "truncated": "the last task of a reply that was cut at its token limit",
    "content_filter": "the last task of a reply that the server's filter ended",
    "malformed": "a block without exactly an instruction, an input and an output",
    "too_short": "an instruction of three words or fewer",
    "too_long": "an instruction of more than 150 words",
    "blacklist_word": "an instruction about images, files, sound or other things that text cannot do",
    "write_a_program": "an instruction that begins with these words",
    "bad_first_character": "an instruction that begins with a character of the wrong kind",
    "empty_output": "an output that is empty or only says so",
    "merged_record": "a field that holds the labels of another task",
    "output_equals_input": "an output that repeats the instruction or the input",
    "url_input": "an input that is only a link, which a model of text cannot follow",
    "ends_in_colon": "an instance whose input or output ends in a colon",
    "conflicting_instances": "instances of one task with the same input",
    "contaminated": "an example that gives away a question of an evaluation set",
    "not_novel": "an instruction too near, by ROUGE-L, to a seed task or to one kept before it",
}


def write_datasheet(recipe: Recipe, teacher: str, seeds: str, num_seeds: int, pool: Pool, totals: Totals) -> str:
    """The datasheet as Markdown."""
    table, examples = recipe.generate, [kept.example for kept in pool.kept]
    with_input = sum(bool(example.input) for example in examples)
    rejections = "\n".join(f"| {rule} | {count:,} | {_RULES[rule]} |" for rule, count in pool.rejections.items())
    return f"""# Datasheet: {recipe.name}

{len(examples):,} examples of instruction, input and output, for fine-tuning language models to follow instructions.
{with_input:,} of them have an input.

## How they were made

| | |
|-|-|
| teacher | {teacher} |
| procedure | `{table.mode}`, recipe `{recipe.name}`, seed {table.seed} |
| seed tasks | {num_seeds} from {seeds} |
| replies | {totals.replies:,}, received {totals.first_received or "-"} to {totals.last_received or "-"} |
| tokens | {totals.prompt_tokens:,} of prompts, {totals.completion_tokens:,} of replies |
| cost | {totals.usd:.4f} US dollars |
| tasks asked for | {pool.num_asked:,} |
| blocks in the replies | {pool.num_blocks:,} |
| kept | {len(examples):,} |

Every example was written by the teacher; nobody has checked them by hand. Each line of `dataset.jsonl` names the
request it came from, and `ledger.sqlite` holds that request and its reply.

## What was rejected

| rule | blocks | what it refuses |
|-|-|-|
{rejections or "| - | 0 | |"}

An instruction counts as novel when its ROUGE-L to every seed task and every example kept before it is at most
{table.similarity_threshold:g}.

## Licence and terms

{_TERMS[recipe.teacher.engine]}

## Known limits

- The outputs are the teacher's: they can be wrong, biased or unsafe, and they share its style.
- The instructions follow the seed tasks in kind and in language.
- The rules above judge form, not truth.
"""
