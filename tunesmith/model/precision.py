"""In which precision matrices are multiplied: fp32, or bf16 with sums in fp32, whichever is faster.

bf16: both factors are rounded to 8 bits of mantissa, the products are added up in fp32; weights,
norms, losses and the optimizer stay fp32. A processor with matrix units multiplies so several times
as fast; one without them, a hundred times as slowly. So it is measured, not looked up.
Does not know: models.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["fp32", "bf16"]

WORTH = 1.3
"""Times as fast as fp32 from which bf16 is worth its rounding."""
ROWS, INPUTS, OUTPUTS = 256, 384, 1536
"""Of the product that is timed: a batch in the feed-forward of a small encoder."""
SECONDS = 0.15
"""Spent on timing it, or a single try where that takes longer."""


def faster() -> tuple[Precision, str]:
    """The faster precision on this machine, and the reason in words."""
    times = speed_up()
    precision: Precision = "bf16" if times >= WORTH else "fp32"
    found = f"{times:.1f}" if times >= 0.1 else f"{times:.2g}"
    return precision, f"bf16 multiplies {found} times as fast as fp32 on this machine"


@lru_cache(maxsize=1)
def speed_up() -> float:
    """How many times as fast bf16 is as fp32 on this machine; measured once a process.

    The quickest of many tries counts, taken in turn and on one core: other work on the machine
    only ever slows a try, and more so the more cores have to wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    inputs, weight = torch.ones(ROWS, INPUTS), torch.ones(OUTPUTS, INPUTS)
    rounded = weight.bfloat16()
    fp32 = bf16 = float("inf")
    until = time.perf_counter() + SECONDS
    with torch.no_grad():
        while bf16 == float("inf") or time.perf_counter() < until:
            fp32 = min(fp32, _seconds(inputs, weight))
            bf16 = min(bf16, _seconds(inputs, rounded))
    torch.set_num_threads(threads)
    return fp32 / bf16


def _seconds(inputs: Tensor, weight: Tensor) -> float:
    """Of one product, the rounding of the inputs included."""
    started = time.perf_counter()
    functional.linear(inputs.to(weight.dtype), weight)
    return time.perf_counter() - started
