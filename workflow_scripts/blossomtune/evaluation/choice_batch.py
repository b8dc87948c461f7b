"""Lay out prompts and all their answers for one forward pass.

A row is its prompt, padded on the left, and then each answer without its last token, padded on the
right. An answer attends to the prompt and to itself, at the positions that it has alone. This is
the layout of ``modeling.prefix_sharing``, one row per prompt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from blossomtune.modeling.encoding import IGNORE_INDEX, PAD_TOKEN_ID
from blossomtune.modeling.segments import PADDING_SEGMENT, PREFIX_SEGMENT


@dataclass(frozen=True)
class ChoiceBatch:
    """B prompts with C answers each.

    Attributes:
        input_ids: (B, W) int64.
        position_ids: (B, W) int64, counted without padding.
        segments: (B, W) int64, ``PREFIX_SEGMENT`` for a prompt, 1 to C for its answers.
        prompt_width: Number of columns of the padded prompts.
        targets: (B, N) int64, tokens of all answers, ``IGNORE_INDEX`` for padding.
        sources: (N,) int64, which of the logits from the prompt's last column on predict a target.
        widths: C numbers of columns of ``targets`` per answer.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    prompt_width: int
    targets: Tensor
    sources: Tensor
    widths: list[int]

    @property
    def num_logits(self) -> int:
        """Return the number of last columns whose logits predict a target."""
        return self.input_ids.shape[1] - self.prompt_width + 1

    def compute_nll(self, logits: Tensor) -> Tensor:
        """Return the negative log-likelihood of each answer, in nats.

        Args:
            logits: (B, num_logits, V) logits of the last columns.

        Returns:
            (B, C) float32, sums over the tokens of an answer.
        """
        logits = logits.float()
        targets, sources = self.targets.to(logits.device), self.sources.to(logits.device)
        is_target = targets != IGNORE_INDEX
        rows = torch.arange(len(targets), device=logits.device)[:, None]
        # the prompt's logits predict the first token of every answer, and are not copied for each
        chosen = logits[rows, sources, targets.clamp(min=0)]
        nll = (logits.logsumexp(dim=-1)[:, sources] - chosen) * is_target
        return torch.stack(
            [answer.sum(dim=1) for answer in torch.split(nll, self.widths, dim=1)], dim=1
        )


def build_choice_batch(
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[Sequence[int]]],
    prefix_length: int = 0,
) -> ChoiceBatch:
    """Return a batch on the CPU.

    Args:
        prompts: B token ids.
        answers: B lists of C token ids each; no answer is empty.
        prefix_length: Number of first tokens of the prompts that are left out, since a cache holds
            them. Each prompt is longer.

    Returns:
        The batch.
    """
    suffixes = [list(prompt[prefix_length:]) for prompt in prompts]
    prompt_width = max(map(len, suffixes))
    widths = [max(map(len, column)) for column in zip(*answers, strict=True)]

    def lay_out(
        prompt_values: Iterable[Sequence[int]],
        answer_values: Iterable[Sequence[Sequence[int]]],
        fill: int,
    ) -> Tensor:
        """Return (B, W) values; an answer has one value less than tokens."""
        rows = []
        for prompt, choices in zip(prompt_values, answer_values, strict=True):
            row = [fill] * (prompt_width - len(prompt)) + list(prompt)
            for choice, width in zip(choices, widths, strict=True):
                row += [*choice, *[fill] * (width - 1 - len(choice))]
            rows.append(row)
        return torch.tensor(rows)

    lengths = [len(prompt) for prompt in prompts]
    targets = [
        [t for a, w in zip(row, widths, strict=True) for t in (*a, *[IGNORE_INDEX] * (w - len(a)))]
        for row in answers
    ]
    # the first token of each answer follows the prompt, the others follow tokens of the answer
    starts = accumulate((width - 1 for width in widths), initial=1)
    sources = [
        i
        for start, w in zip(starts, widths, strict=False)
        for i in (0, *range(start, start + w - 1))
    ]
    return ChoiceBatch(
        input_ids=lay_out(suffixes, [[a[:-1] for a in row] for row in answers], PAD_TOKEN_ID),
        position_ids=lay_out(
            [range(prefix_length, n) for n in lengths],
            [
                [range(n, n + len(a) - 1) for a in row]
                for n, row in zip(lengths, answers, strict=True)
            ],
            0,
        ),
        segments=lay_out(
            [[PREFIX_SEGMENT] * len(suffix) for suffix in suffixes],
            [[[c] * (len(a) - 1) for c, a in enumerate(row, 1)] for row in answers],
            PADDING_SEGMENT,
        ),
        prompt_width=prompt_width,
        targets=torch.tensor(targets),
        sources=torch.tensor(sources),
        widths=widths,
    )
