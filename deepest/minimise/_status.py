"""How a minimisation ended."""

import enum


class Status(enum.IntEnum):
    """How a minimisation, or a member of an ensemble, ended; `sentence` says what happened and what to try."""

    converged = 0
    step_limit = 1
    stalled = 2
    not_finite = 3
    pruned = 4

    @property
    def sentence(self) -> str:
        """What happened, why it usually happens, and what to try."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.converged: "The cost no longer decreases.",
    Status.step_limit: (
        "The limit of steps was reached before the cost stopped decreasing; raise the limit, or use smaller rungs."
    ),
    Status.stalled: (
        "No step decreased the cost, however short. Usually rounding limits the cost (use float64, or end the ladder "
        "earlier) or the model returns values that are not finite near the path."
    ),
    Status.not_finite: "The cost at the starting point is not finite; check the model at the initial path.",
    Status.pruned: "Its level could no longer win, or was not needed; it was left at an earlier rung or did not begin.",
}
