"""The local engine: a Hugging Face checkpoint on this machine."""

import os

# A CPU's tiles (AMX) sum a row in another order as its batch grows, and an answer would depend on who else asks. oneDNN
# reads this once, before its first product; whoever wants the tiles all the same sets it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
