"""What a decoding step does between its matrix products, compiled for the model and the machine: decode_kernels.c."""

from collections.abc import Callable
from ctypes import CDLL, PyDLL, c_float, c_int, c_int64, c_void_p
from functools import partial
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from pacos.core.compiled import compiled

SOURCE = Path(__file__).with_suffix(".c")
# Numbers that one register of the compiled code takes.
LANES = 16
TYPES = {torch.bfloat16: (), torch.float32: ("-DFP32",)}


class DecodeKernels:
    """Attention of one new token a row, norms, and the gate of a feed-forward layer, for tensors on the CPU."""

    def __init__(self, library: Path, is_gelu: bool) -> None:
        self._attend = CDLL(str(library)).attend_rows
        # A thread that lets go of the interpreter for two microseconds may wait milliseconds until it has it back.
        quick = PyDLL(str(library))
        self._norm, self._gate, self._is_gelu = quick.norm_rows, quick.gate_rows, is_gelu
        self._attend.argtypes = [*[c_void_p] * 7, *[c_int64] * 3, c_float, c_float, c_int]
        self._norm.argtypes = [*[c_void_p] * 3, c_int64, c_int64, c_float]
        self._gate.argtypes = [c_void_p, c_void_p, c_int64, c_int64, c_int, c_int]
        for function in (self._attend, self._norm, self._gate):
            function.restype = None

    @classmethod
    def compiled(
        cls, heads: int, kv_heads: int, head_dim: int, widths: tuple[int, ...], dtype: torch.dtype, activation: object
    ) -> Self | None:
        """Compiles them in a third of a second; None where there is no C compiler, or a model that they are not for."""
        is_gelu = _is_gelu(activation)
        fits = head_dim % (2 * LANES) == 0 and all(width % LANES == 0 for width in widths)
        if is_gelu is None or not fits or dtype not in TYPES:
            return None
        numbers = (f"-DHEADS={heads}", f"-DKEY_HEADS={kv_heads}", f"-DHEAD_DIM={head_dim}", *TYPES[dtype])
        return compiled(SOURCE, ("-fopenmp", *numbers), partial(cls, is_gelu=is_gelu))

    def attend(
        self,
        qkv_BHD: Tensor,
        plane: Tensor,
        positions_N: Tensor,
        cos_sin_BD: tuple[Tensor, Tensor],
        qk_norm: tuple[Tensor, float] | None,
        window: int,
        scaling: float,
        attended_ND: Tensor,
    ) -> None:
        """Writes every row's new key and value into `plane`, and what its token then sees into `attended_ND`.

        `qkv_BHD` are queries, keys and values as the projection gave them; cosines and sines are [B, D] in fp32, norm's
        weights [query and key heads, D]; `window` is how far a row looks back, 0 for all.
        """
        weight, eps = qk_norm or (None, 0.0)
        self._attend(
            qkv_BHD.data_ptr(),
            plane.data_ptr(),
            cos_sin_BD[0].data_ptr(),
            cos_sin_BD[1].data_ptr(),
            positions_N.data_ptr(),
            attended_ND.data_ptr(),
            None if weight is None else weight.data_ptr(),
            len(qkv_BHD),
            plane.shape[2],
            window,
            scaling,
            eps,
            torch.get_num_threads(),
        )

    def norm(self, weight: Tensor, eps: float) -> Callable[[Tensor], Tensor]:
        """The RMS norm of rows [N, D] by this weight."""
        weight = weight.float().contiguous()

        def normed(x_ND: Tensor) -> Tensor:
            x_ND = x_ND.contiguous()
            normed_ND = torch.empty_like(x_ND)
            self._norm(x_ND.data_ptr(), weight.data_ptr(), normed_ND.data_ptr(), *x_ND.shape, eps)
            return normed_ND

        return normed

    def gate(self, gate_up_NF: Tensor) -> Tensor:
        """Gate and its input side by side become activation(gate) * input, [N, F / 2]."""
        rows, both = gate_up_NF.shape
        gated = gate_up_NF.new_empty(rows, both // 2)
        threads = torch.get_num_threads()
        self._gate(gate_up_NF.data_ptr(), gated.data_ptr(), rows, both // 2, self._is_gelu, threads)
        return gated


def _is_gelu(activation: object) -> bool | None:
    """Whether it is gelu by tanh, or else silu; None where it is neither. Libraries have several names for each."""
    probe = torch.linspace(-4, 4, 64)
    given = activation(probe) if callable(activation) else None
    if given is None:
        return None
    if torch.allclose(given, silu(probe), atol=1e-6):
        return False
    return True if torch.allclose(given, gelu(probe, approximate="tanh"), atol=1e-6) else None
