"""Attention of the paper's layers: the dense formula, without its memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srin.models.paper.attention import attend
from tests.paper_loops import close, rng


@pytest.mark.parametrize("queries", [1, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "plain"])
def test_attention_in_chunks_is_the_dense_formula(queries, weighted):
    generator = rng(queries)
    q, k, v = (torch.randn(2, n, d, generator=generator).double() for n, d in ((queries, 3), (7, 3), (7, 4)))
    log_weight = torch.rand(2, 7, generator=generator).double().log() if weighted else None
    if weighted:
        log_weight[0, 2] = log_weight[1, 5] = -torch.inf
    target = torch.randn(2, queries, 4, generator=generator).double()

    def run(function):
        inputs = [t.clone().requires_grad_() for t in (q, k, v)]
        out = function(*inputs)
        (out * target).sum().backward()
        return [out, *(t.grad for t in inputs)]

    def dense(q, k, v):
        scores = torch.einsum("bnd,bkd->bnk", q, k).exp()
        if weighted:
            scores = scores * log_weight.exp()[:, None]
        return torch.einsum("bnk,bke->bne", scores / scores.sum(-1, keepdim=True), v)

    for actual, expected in zip(run(lambda *x: attend(*x, log_weight)), run(dense), strict=True):
        close(actual, expected.detach(), 1e-10)
    with torch.inference_mode():
        close(attend(q, k, v, log_weight), dense(q, k, v), 1e-10)


class Largest(TorchDispatchMode):
    """Remembers the storage of the largest tensor that any operation returned, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return out


def attention_memory(n, grad=True):
    """Bytes of the largest tensor in forward and backward, bytes kept in between; n queries and n keys."""
    q, k, v = (torch.randn(1, n, 2, requires_grad=grad) for _ in range(3))
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Largest() as largest, torch.set_grad_enabled(grad):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = attend(q, k, v, torch.zeros(1, n))
        if grad:
            out.sum().backward()
    return largest.bytes, sum(kept.values())


@pytest.mark.parametrize("grad", [True, False], ids=["training", "inference"])
def test_attention_takes_memory_in_proportion_to_the_positions(grad):
    """Twice the positions, twice the memory, not four times: no n x n matrix, neither whole nor in pieces."""
    (largest, kept), (larger, kept_more) = attention_memory(1536, grad), attention_memory(3072, grad)
    assert larger <= 2.1 * largest and larger < 3072 * 3072 * 4 / 2
    assert kept_more <= 2.1 * kept and kept_more < 3072 * 3072 * 4 / 8
