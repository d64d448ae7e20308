"""From logits of queries to scores of classes; the bits of a pixel depend on its own logits alone."""

from __future__ import annotations

from torch import Tensor

from segearth.errors import UserError, option


def class_scores(logits: Tensor, query_to_class: Tensor, classes: int) -> Tensor:
    """Softmax over all queries, then the best query of each class.

    Args:
        logits: (B, Q, H, W), already scaled.
        query_to_class: (Q,) int64, the class of each query.
        classes: C.

    Returns:
        (B, C, H, W) in [0, 1], not renormalised: they sum to 1 only where no class has synonyms.

    Raises:
        UserError: logits that are not finite.
    """
    probabilities = softmax(logits)
    if bool((lost := probabilities[:, 0].isnan()).any()):  # a softmax is NaN in all queries or in none
        raise UserError(
            f"the model gives no numbers as scores (NaN, at {int(lost.sum()):,} of {lost.numel():,} pixels): "
            "expected scores from 0 to 1; its weights are damaged or too large for its arithmetic: use other "
            f"weights, or {option('precision', 'fp32')} where it is another"
        )
    index = query_to_class[None, :, None, None].expand_as(probabilities)
    scores = probabilities.new_zeros(len(logits), classes, *logits.shape[-2:])
    return scores.scatter_reduce_(1, index, probabilities, reduce="amax")


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the queries of (B, Q, H, W).

    PyTorch's own takes other instructions for the last pixels that a thread gets: blocks of a scene would differ in the
    last bit. Exponentials, sums and quotients of single values do not.
    """
    powers = (logits - logits.amax(dim=1, keepdim=True)).exp_()
    if logits.device.type != "cpu":
        return powers / sum_of_halves(powers)
    first, *others = powers.unbind(dim=1)
    total = first.clone()
    for other in others:
        total += other
    return powers / total[:, None]


def sum_of_halves(values: Tensor) -> Tensor:
    """Sums over the queries, (B, 1, H, W): adds one half to the other, in few operations, which a GPU waits for."""
    while (count := values.shape[1]) > 1:
        half = count // 2
        pairs = values[:, :half] + values[:, half : 2 * half]
        if count % 2:
            pairs[:, -1] += values[:, -1]
        values = pairs
    return values
