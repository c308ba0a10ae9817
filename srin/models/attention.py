"""Attention from foreground positions to background positions or regions, and the statistics it borrows."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from srin.models.scene import EPS

QUERY_CHUNK = 1024


def attend(query: Tensor, key: Tensor, value: Tensor, log_weight: Tensor | None = None) -> Tensor:
    """softmax(query key^T + log_weight) value, in memory linear in the number of queries and keys.

    Queries go through in chunks of 1,024; while training, a chunk's attention is recomputed in the backward pass
    instead of kept. No scaling by the square root of the dimension: callers that want it scale their queries.

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
        query: (B, N, D). key: (B, K, D), one a background part.
        mean, second_moment: (B, K, C), E[x] and E[x^2] of each part. weight: (B, K), its area; 0 leaves it out.

    Returns:
        mu = sum p_k mean_k and sigma = sqrt(sum p_k second_moment_k - mu^2 + 1e-5), (B, N, C) each.
    """
    moments = attend(query, key, torch.cat([mean, second_moment], -1), weight.log())
    mu, second = moments.chunk(2, -1)
    return mu, ((second - mu**2).clamp_min(0) + EPS).sqrt()


class PlaceAttention(nn.Module):
    """Queries of foreground positions and keys of background parts, from features and colours.

    BAIN and SRIN share these projections, parameter for parameter, so that a comparison of the two is a comparison of
    pixels against regions and of nothing else. The queries' projections start at zero: attention is then uniform over
    the background's area, which is exactly RAIN, and a network trained with RAIN can go on with either.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        dim = max(8, channels // 4)
        self.scale = dim**-0.5
        self.query_own = nn.Linear(channels, dim, bias=False)
        self.query_region = nn.Linear(channels, dim, bias=False)
        self.query_colour = nn.Linear(3, dim, bias=False)
        self.key_feature = nn.Linear(channels, dim, bias=False)
        self.key_colour = nn.Linear(3, dim, bias=False)
        for projection in (self.query_own, self.query_region, self.query_colour):
            nn.init.zeros_(projection.weight)

    def query(self, own: Tensor, region: Tensor, colour: Tensor) -> Tensor:
        """(B, N, C) own normalized features, (B, N, C) their region's, (B, N, 3) its colour -> (B, N, D)."""
        return (self.query_own(own) + self.query_region(region) + self.query_colour(colour)) * self.scale

    def key(self, feature: Tensor, colour: Tensor) -> Tensor:
        """(B, K, C) normalized features and (B, K, 3) colours of background parts -> (B, K, D)."""
        return self.key_feature(feature) + self.key_colour(colour)
