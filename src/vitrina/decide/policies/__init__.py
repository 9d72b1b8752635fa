"""Policies: the rules that turn expected margins into exact chances, one a module."""

from __future__ import annotations

from vitrina.core.catalogue import PolicySettings
from vitrina.core.errors import UserError
from vitrina.decide.policies.contract import Choice, Margins, Mask, Policy
from vitrina.decide.policies.inclusion import inclusion
from vitrina.decide.policies.posterior_bank import PosteriorBank
from vitrina.decide.policies.ranking import Ranking
from vitrina.decide.policies.uniform import Uniform

__all__ = ["Choice", "Margins", "Mask", "Policy", "PosteriorBank", "Ranking", "Uniform", "inclusion", "policy_of"]


def policy_of(settings: PolicySettings) -> Policy:
    """The policy that a placement asks for.

    Raises:
        UserError: there is no such kind, or the floor is outside [0, 1).
    """
    if not 0.0 <= settings.floor < 1.0:
        raise UserError(
            f"a floor of {settings.floor} is no share.",
            code="policy.floor",
            where="policy.floor",
            cure="Use a number in [0, 1).",
        )
    if settings.kind == "bank":
        return PosteriorBank(settings.floor)
    if settings.kind == "uniform":
        return Uniform()
    if settings.kind == "ranking":
        return Ranking()
    raise UserError(
        f"there is no policy {settings.kind}.",
        code="policy.unknown",
        where="policy.kind",
        cure="Use bank, uniform or ranking.",
    )
