"""Attention from foreground positions to other positions, and statistics mixed by it."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from srin.models.config import Logits
from srin.models.paper.levels import EPS

QUERY_CHUNK = 1024


def with_logits(query: Tensor, logits: Logits) -> Tensor:
    """Scales queries (B, N, D) so that their products with keys are the wanted logits, see `ModelConfig.logits`."""
    if logits == "uniform":
        return torch.zeros_like(query)
    return query / query.shape[-1] ** 0.5 if logits == "scaled" else query


def attend(query: Tensor, key: Tensor, value: Tensor, log_weight: Tensor | None = None) -> Tensor:
    """softmax(query key^T + log_weight) value, in memory linear in the number of queries and keys.

    Queries are processed in chunks of 1,024. While training, a chunk's attention is recomputed in the backward pass
    instead of being stored. Logits are not scaled by the square root of the dimension.

    Args:
        query: (B, N, D). key: (B, K, D). value: (B, K, E).
        log_weight: (B, K), added to the logits of every query; -inf leaves a key out.

    Returns:
        (B, N, E).
    """
    bias = None if log_weight is None else log_weight[:, None]
    if torch.compiler.is_exporting():
        return _attend(query, key, value, bias)  # the number of chunks must not depend on the size
    chunks = query.split(QUERY_CHUNK, dim=1)
    if len(chunks) == 1:
        return _attend(query, key, value, bias)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(_attend, q, key, value, bias, use_reentrant=False) for q in chunks], 1)
    return torch.cat([_attend(q, key, value, bias) for q in chunks], 1)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    logits = query @ key.transpose(1, 2)
    if bias is not None:
        logits = logits + bias
    return logits.softmax(-1) @ value


def attended_statistics(
    query: Tensor, key: Tensor, mean: Tensor, second_moment: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the mixture of background parts that each query attends to.

    Args:
        query: (B, N, D). key: (B, K, D), one for each background part.
        mean, second_moment: (B, K, C), E[x] and E[x^2] of each part. weight: (B, K), its area; 0 leaves it out.

    Returns:
        mu = sum p_k mean_k and sigma = sqrt(sum p_k second_moment_k - mu^2 + 1e-5), (B, N, C) each.
    """
    moments = attend(query, key, torch.cat([mean, second_moment], -1), weight.log())
    mu, second = moments.chunk(2, -1)
    return mu, ((second - mu**2).clamp_min(0) + EPS).sqrt()
