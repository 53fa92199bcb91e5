"""How a gateway says that an effect did not happen, so that nothing has to be undone."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

NO_EFFECT = "no_effect"
"""The first detail of an error by which a gateway says that nothing is under the idempotency key, and that
nothing will be: whatever arrives later under this key is refused."""


def effect_refused(
    message: str,
    *,
    type: str = "EffectRefused",  # noqa: A002 (as ApplicationError has it)
    category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
) -> ApplicationError:
    """For gateways alone: the effect was refused for good, and did not and will not happen.

    Any other error leaves the outcome unknown, so a saga undoes the step; also a non-retryable one, as it may
    come from the second attempt while the first one had its effect, or from after the effect.
    """
    return ApplicationError(message, NO_EFFECT, type=type, non_retryable=True, category=category)


def says_no_effect(error: BaseException | None) -> bool:
    """Did a gateway say that nothing happened?"""
    return isinstance(error, ApplicationError) and tuple(error.details[:1]) == (NO_EFFECT,)
