"""``[guided]``: how many labels the search makes, and where it looks."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class GuidedSettings(BaseModel):
    """``[guided]``: rounds of proposals that are labelled.

    Attributes:
        start: Networks labelled before the first round, sizes spread over the budget; fewer by what
            an archive knows of such networks already.
        rounds: How often the regressors are fitted and networks are proposed.
        warm_rounds: As many in place of ``rounds`` where an archive spares the whole start.
        batch: Networks labelled in a round.
        minutes: No round begins after so many minutes of search; 0 for no such bound.
        gradient: Share of a batch proposed by descent in the embedding.
        mutation: Share proposed by small changes of the best networks. The rest is drawn at random
            within the budget.
        caution: How many standard deviations below its mean a prediction is counted.
        starts: Descents in a round: from the input network, thinned to the budget, and from the
            best labelled ones.
        steps: Most steps of a descent.
        reach: The longest step tried, as a share of the length of y.
        contenders: How many of the best are labelled again, by longer training; no contest where
            they are no more than ``final.finalists``.
        warm_contenders: At most so many where an archive spares the whole start.
        contender_epochs: How many times as long that is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: int = Field(default=40, ge=0)
    rounds: int = Field(default=4, ge=1)
    warm_rounds: int = Field(default=1, ge=0)
    batch: int = Field(default=15, ge=1)
    minutes: float = Field(default=0.0, ge=0)
    gradient: float = Field(default=0.5, ge=0, le=1)
    mutation: float = Field(default=0.3, ge=0, le=1)
    caution: float = Field(default=0.5, ge=0)
    starts: int = Field(default=8, ge=1)
    steps: int = Field(default=8, ge=1)
    reach: float = Field(default=0.6, gt=0)
    contenders: int = Field(default=9, ge=0)
    warm_contenders: int = Field(default=4, ge=0)
    contender_epochs: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.gradient + self.mutation > 1:
            raise ValueError("gradient and mutation are shares of one batch: at most 1 together")
        return self

    @property
    def labels(self) -> int:
        """Networks labelled in all where no archive knows any."""
        return self.start + self.rounds * self.batch
