"""The watermark: one object that marks logits and detects the mark, from the same green lists."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pacos.core.errors import PacosError
from pacos.watermark.detection import Detection, summarise
from pacos.watermark.green_lists import Bits, Bools, DrawnLists, GreenLists, KeyedLists
from pacos.watermark.mark_kernels import MarkKernels, mark_kernels
from pacos.watermark.permutation import Ints
from pacos.watermark.schemes import find_scheme

if TYPE_CHECKING:
    import torch

DEFAULT_KEY = 15485863
SELFHASH_CANDIDATES = 41
"""How many of the likeliest tokens selfhash looks at; the published code stops after index 40."""


class Watermark:
    """Kirchenbauer et al.'s watermark, bit for bit as its published code makes it on a CPU; or, with the scheme
    `threefry`, the same mark under a secret key of 128 bits.

    `vocab_size` is part of the secret: another one gives other green lists, so pin the model's. Raises PacosError for
    an unknown scheme or values no watermark can have. Safe to use from several threads.
    """

    def __init__(
        self, scheme: str, vocab_size: int, gamma: float = 0.25, delta: float = 2.0, key: int = DEFAULT_KEY
    ) -> None:
        self.scheme = find_scheme(scheme)
        self.vocab_size, self.gamma, self.delta, self.key = vocab_size, gamma, delta, key
        self.num_green = int(vocab_size * gamma)
        if not 0 < gamma < 1 or self.num_green < 1:
            raise PacosError(
                f"watermark gamma {gamma} of {vocab_size} tokens: expected a share between 0 and 1 with a token in it."
            )
        if not 0 < delta < float("inf"):
            raise PacosError(f"watermark delta {delta}: expected what green logits are raised by, a number above 0.")
        if not 0 < key < 2**self.scheme.key_bits:
            raise PacosError(f"watermark key: expected a whole number from 1 to 2**{self.scheme.key_bits} - 1.")
        self._lists: GreenLists = (
            DrawnLists(self.scheme, vocab_size, self.num_green, key)
            if self.scheme.prf
            else KeyedLists(vocab_size, gamma, key)
        )
        self._kernels: MarkKernels | None = None
        # By device and type: what a byte of a green list's bits adds to eight logits.
        self._raises: dict[str, torch.Tensor] = {}

    @property
    def num_previous(self) -> int:
        """Tokens that there have to be before one that can be marked or scored."""
        return self.scheme.num_previous

    def prepare(self) -> None:
        """For whoever marks much: compiles what marking computes most, where there is a C compiler, and draws the
        lists that follow the commonest tokens, so that a server's first answers cost no more than later ones. It takes
        seconds, and may be done in a thread beside."""
        self._kernels = mark_kernels()
        self._lists.prepare(self._kernels)

    def green_ids(self, context: Sequence[int]) -> list[int]:
        """The green list after `context`, in the order drawn; for selfhash the context ends in the candidate itself.

        Raises PacosError where the context is shorter than the scheme reads.
        """
        return self._lists.ids(self._window(context))

    def is_green(self, context: Sequence[int], candidate: int) -> bool:
        """Whether `candidate` is green after `context`; far cheaper than `green_ids`."""
        window = self._window([*context, candidate] if self.scheme.self_salted else context)
        return bool(self._lists.are_green(np.array([window], dtype=np.int64), np.array([candidate]))[0])

    def apply(
        self, input_ids_BT: "torch.Tensor", logits_BV: "torch.Tensor", temperatures_B1: "torch.Tensor | None" = None
    ) -> "torch.Tensor":
        """Logits [B, V] with green tokens raised by delta, each row after its own ids [B, T]; the input is not changed.

        Logits that are yet to be divided by `temperatures_B1` are raised so much more. They may be wider than
        `vocab_size` (a padded head): the rest stays. Where T is too short for the scheme the rows come back unmarked,
        as a detector does not score such positions either.
        """
        self._require_wide(logits_BV)
        if input_ids_BT.shape[-1] < self.num_previous:
            return logits_BV
        # Tensors are met through their own methods only, so that this loads no torch.
        contexts_BT = input_ids_BT[:, -self.num_previous :]
        if self.scheme.self_salted:
            return self._raise_candidates(contexts_BT, logits_BV, temperatures_B1)
        if isinstance(self._lists, KeyedLists) and logits_BV.device.type != "cpu":
            raise_BV = self._lists.on_device(contexts_BT.to(logits_BV.device)).to(logits_BV.dtype) * self.delta
        else:
            raise_BV = self._raise_of(self._lists.bits(_array(contexts_BT)), logits_BV)
        if temperatures_B1 is not None:
            raise_BV *= temperatures_B1
        if logits_BV.shape[-1] == self.vocab_size:
            return raise_BV.add_(logits_BV)
        raised_BV = logits_BV.clone()
        raised_BV[:, : self.vocab_size] += raise_BV
        return raised_BV

    def are_raised(self, input_ids_BT: Ints, logits_BV: "torch.Tensor", rows_N: Ints, tokens_N: Ints) -> Bools:
        """Whether `apply` would raise each token in its row [N]; far cheaper for a few."""
        self._require_wide(logits_BV)
        if isinstance(self._lists, DrawnLists) and self.scheme.context_width == 1:
            # The lists of single tokens are met again and again, and kept.
            return self._lists.are_set(input_ids_BT[:, -1:], rows_N, tokens_N)
        windows_NT = input_ids_BT[rows_N, -self.num_previous :]
        if not self.scheme.self_salted:
            return self._lists.are_green(windows_NT, tokens_N)
        # A likely token is drawn often.
        width = logits_BV.shape[-1]
        pairs, places_N = np.unique(rows_N * width + tokens_N, return_inverse=True)
        rows, tokens = pairs // width, pairs % width
        windows = np.column_stack([input_ids_BT[rows, -self.num_previous :], tokens])
        raised = tokens < self.vocab_size
        # To look through a row is cheaper than a permutation by arrays, but not than a compiled one, which fewer pass.
        for is_green in (True, False) if self._kernels else (False, True):
            asked = np.flatnonzero(raised)
            if is_green:
                raised[asked] = self._lists.are_green(windows[asked], tokens[asked])
            else:
                raised[asked] = self._are_likeliest(logits_BV, rows[asked], tokens[asked])
        raised_N: Bools = raised[places_N]
        return raised_N

    def _are_likeliest(self, logits_BV: "torch.Tensor", rows: Ints, tokens: Ints) -> Bools:
        """Whether each token is among the likeliest of its row, which alone are looked at."""
        values_BV = logits_BV.cpu().numpy()
        if self._kernels and values_BV.dtype == np.float32:
            return self._kernels.are_likeliest(values_BV, rows, tokens, self.vocab_size, SELFHASH_CANDIDATES)
        values_BV, found = values_BV[:, : self.vocab_size], np.empty(len(tokens), dtype=bool)
        for place, token in enumerate(tokens.tolist()):
            values_V = values_BV[rows[place]]
            # Of those that are as likely, the first ids come before.
            before = np.count_nonzero(values_V > values_V[token])
            before += np.count_nonzero(values_V[:token] == values_V[token])
            found[place] = before < SELFHASH_CANDIDATES
        return found

    def detect(self, tokens: Sequence[int], ignore_repeated_ngrams: bool = True) -> Detection:
        """Scores every token that has enough context; a repeated n-gram counts once unless told otherwise.

        Too few tokens give a Detection with nothing scored. Raises PacosError for what cannot be token ids.
        """
        return self.detect_all([tokens], ignore_repeated_ngrams)[0]

    def detect_all(self, texts: Sequence[Sequence[int]], ignore_repeated_ngrams: bool = True) -> list[Detection]:
        """`detect` of many texts' tokens, in less time than one by one: what they have in common is scored once."""
        length = self.scheme.num_previous + 1
        ngrams = [_ngrams(tokens, length) for tokens in texts]
        unique, positions = np.unique(
            np.concatenate([np.empty((0, length), np.int64), *ngrams]), axis=0, return_inverse=True
        )
        windows = unique if self.scheme.self_salted else unique[:, :-1]
        green = self._lists.are_green(windows, unique[:, -1])
        ends = np.cumsum([len(each) for each in ngrams])
        found = []
        for place in np.split(positions.ravel(), ends[:-1]):
            mask = green[place]
            is_first = np.zeros(len(place), dtype=bool)
            is_first[np.unique(place, return_index=True)[1]] = True
            found.append(summarise(mask, is_first if ignore_repeated_ngrams else np.ones_like(mask), self.gamma))
        return found

    def _require_wide(self, logits_BV: "torch.Tensor") -> None:
        if logits_BV.shape[-1] < self.vocab_size:
            raise PacosError(
                f"watermark vocab_size {self.vocab_size}: the model has only {logits_BV.shape[-1]} logits; "
                "give the size the watermark was made for."
            )

    def _window(self, context: Sequence[int]) -> Sequence[int]:
        width = self.scheme.context_width
        if len(context) < width:
            raise PacosError(
                f"watermark context of {len(context)} tokens: {self.scheme.name} reads {width}; give a longer one."
            )
        return context[-width:]

    def _raise_of(self, bits_BK: Bits, logits_BV: "torch.Tensor") -> "torch.Tensor":
        """What is added to the logits, [B, vocab_size], by a table of what every byte of bits adds to eight of them."""
        kind = f"{logits_BV.device} {logits_BV.dtype}"
        if kind not in self._raises:
            each_256_8 = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
            self._raises[kind] = logits_BV.new_tensor(each_256_8) * self.delta
        places = logits_BV.new_tensor(bits_BK.ravel()).int()
        return self._raises[kind].index_select(0, places).view(len(bits_BK), -1)[:, : self.vocab_size]

    def _raise_candidates(
        self, contexts_BT: "torch.Tensor", logits_BV: "torch.Tensor", temperatures_B1: "torch.Tensor | None"
    ) -> "torch.Tensor":
        count = min(SELFHASH_CANDIDATES, self.vocab_size)
        values_BV = logits_BV[:, : self.vocab_size]
        likeliest_BC = values_BV.topk(count, dim=-1).indices
        # Of tokens that are as likely as the last one, the first ids count: bf16 has ties, and topk takes any of them.
        least_B1 = values_BV.gather(1, likeliest_BC).amin(dim=-1, keepdim=True)
        for row in ((values_BV >= least_B1).sum(dim=-1) > count).nonzero()[:, 0].tolist():
            likeliest_BC[row] = values_BV[row].sort(descending=True, stable=True).indices[:count]
        candidates_BC = _array(likeliest_BC)
        windows = np.repeat(_array(contexts_BT), count, axis=0)
        windows = np.column_stack([windows, candidates_BC.ravel()])
        green = self._lists.are_green(windows, candidates_BC.ravel()).reshape(candidates_BC.shape)
        raise_BC = logits_BV.new_tensor(green) * self.delta
        if temperatures_B1 is not None:
            raise_BC *= temperatures_B1
        return logits_BV.scatter(1, likeliest_BC, values_BV.gather(1, likeliest_BC) + raise_BC)


def _array(ids: "torch.Tensor") -> Ints:
    return np.array(ids.tolist(), dtype=np.int64)


def _ngrams(tokens: Sequence[int], length: int) -> Ints:
    ids = np.asarray(tokens, dtype=np.int64)
    if ids.ndim != 1 or (ids < 0).any():
        raise PacosError("detect: expected one list of token ids, none of them negative.")
    if len(ids) < length:
        return np.empty((0, length), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(ids, length)
