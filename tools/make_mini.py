"""Makes pacos-mini, the base that comes with pacos: tokenizer, pretraining on generated plain text, card.

    python tools/make_mini.py --out src/pacos/mini

The text is written by the builtin world's own statements ("The capital of France is Paris."), drawn afresh for every
batch, so nothing is downloaded, and the model sees no instruction, no template and no answer to a request; of the
requests' wording it sees only the sentences of small talk that may stand before and after one. One seed makes one
model on one machine; another CPU rounds differently and makes a sibling.
"""

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pacos.core.prompts import WITH_INPUT, WITHOUT_INPUT
from pacos.engines.builtin import world
from pacos.engines.builtin.skills import SKILLS, Skill
from pacos.engines.builtin.skills.skill import CLOSERS, OPENERS, with_articles

VOCABULARY = 4096
LENGTH = 256
ROWS = 16
WARMUP_STEPS = 200
DECAY_SHARE = 0.3
HELD_OUT_SEED = 999_983

CARD = """---
license: apache-2.0
---
# pacos-mini

A LLaMA-architecture base of {parameters:,} parameters with its own byte-level BPE tokenizer of {vocabulary:,} tokens,
in bfloat16. It comes with pacos so that the whole recipe runs offline on a laptop, and is good for nothing else.

- **Made by** `python tools/make_mini.py --out src/pacos/mini`: {steps:,} steps, {tokens:,} tokens,
  {hours:.1f} hours on 2 shared CPU cores. Licence: Apache-2.0, as the rest of pacos.
- **Trained on** plain statements about a small world of everyday words and facts ("The capital of France is Paris."),
  written by the program from its own word lists, drawn afresh for every batch: the substance of the builtin
  teacher's {skills} skills, between sentences of small talk, which are also those that the builtin teacher puts before
  and after its requests. It has seen no request, no template and no instruction format; the tokenizer alone was shown
  those too, so that prompts are short.
- **Held-out loss** {held_out:.3f} nats a token on pages drawn with another seed. Much of that is the choice of random
  words, which nobody could foretell.
- **Cannot** follow instructions before fine-tuning, converse, reason, write prose, or know anything outside that
  world. English only. After fine-tuning it answers the builtin skills, often wrongly.
"""


def document(rng: random.Random) -> str:
    """A page of plain statements: half of the pages stay with few skills, so that a pattern repeats in sight."""
    skills = list(SKILLS.values())
    chosen = rng.sample(skills, rng.choice((1, 2, 3, 12)))
    lines = [statement(rng.choice(chosen), rng) for _ in range(rng.randint(6, 14))]
    for _ in range(rng.randint(0, 3)):
        lines.insert(rng.randrange(len(lines)), small_talk(rng))
    return rng.choice(("\n", " ", "\n\n")).join(lines)


def statement(skill: Skill, rng: random.Random) -> str:
    """One thing the world knows, said plainly."""
    slots = with_articles(skill.draw(rng))
    text = rng.choice(skill.say).format(who=rng.choice(world.NAMES), **slots)
    return text[0].upper() + text[1:] if rng.random() < 0.3 and not text.startswith(slots["y"]) else text


def small_talk(rng: random.Random) -> str:
    """A sentence between the facts, so that the words of everyday requests are known."""
    scene = world.scene(rng)
    return rng.choice((rng.choice(OPENERS), rng.choice(CLOSERS), scene[0].upper() + scene[1:] + "."))


def make_tokenizer(rng: random.Random) -> PreTrainedTokenizerFast:
    """Byte-level BPE; digits stand alone so that numbers are read digit by digit."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Requests and templates give the tokenizer their words, so that prompts are short; the model never sees them.
    pages = [document(rng) for _ in range(20_000)]
    requests = [skill.sample(rng).instruction for skill in SKILLS.values() for _ in range(40)]
    tokenizer.train_from_iterator(pages + requests + [WITH_INPUT, WITHOUT_INPUT] * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=1024
    )


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Endless [ROWS, LENGTH] rows of whole documents, each closed by EOS."""
    rng, buffer = random.Random(seed), []
    eos, size = tokenizer.eos_token_id, ROWS * LENGTH
    while True:
        while len(buffer) < size:
            encoded = tokenizer([document(rng) for _ in range(64)])["input_ids"]
            for ids in encoded:
                buffer += [*ids, eos]
        yield torch.tensor(buffer[:size]).view(ROWS, LENGTH)
        del buffer[:size]


def main() -> None:
    """Trains and saves; prints a line every hundred steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    args = parser.parse_args()

    tokenizer = make_tokenizer(random.Random(args.seed))
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 8 // 3 // 16 * 16 + 16,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=args.hidden // 64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    model = LlamaForCausalLM(config)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(tokenizer):,} tokens", flush=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.learning_rate, betas=(0.9, 0.95), weight_decay=0.05, fused=True
    )
    step_function = torch.compile(lambda ids: loss_of(model, ids))
    stream = batches(tokenizer, args.seed)
    start = time.monotonic()
    for step in range(args.steps):
        rate = min((step + 1) / WARMUP_STEPS, 1.0, max((args.steps - step) / (DECAY_SHARE * args.steps), 0.02))
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * rate
        loss = step_function(next(stream))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == args.steps - 1:
            seconds = time.monotonic() - start
            rate = (step + 1) * ROWS * LENGTH / seconds
            print(f"step {step} loss {loss.item():.3f} {rate:,.0f} tokens/s {seconds:,.0f} s", flush=True)
        if step % 1000 == 999:
            save(model, tokenizer, args.out)
    save(model, tokenizer, args.out)
    seconds = time.monotonic() - start
    write_card(args.out, parameters, args.steps, seconds, held_out_loss(model, tokenizer))


def write_card(out: Path, parameters: int, steps: int, seconds: float, held_out: float) -> None:
    """Writes the model's README.md: what it is, what it was trained on, what it cannot do."""
    (out / "README.md").write_text(
        CARD.format(
            parameters=parameters,
            steps=steps,
            tokens=steps * ROWS * LENGTH,
            hours=seconds / 3600,
            held_out=held_out,
            skills=len(SKILLS),
            vocabulary=VOCABULARY,
        )
    )


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss of [B, T] rows."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """Mean loss over 40 batches of pages drawn with a seed of their own."""
    stream = batches(tokenizer, HELD_OUT_SEED)
    return sum(loss_of(model, next(stream)).item() for _ in range(40)) / 40


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes the checkpoint in bfloat16, which keeps the package small."""
    state = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(state)
    copy.config.use_cache = True
    copy.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
