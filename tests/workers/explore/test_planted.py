"""Faults that sagas once had, planted back one at a time: random exploration must find each of them.

What these tests show is the strength of the simulator, and that the invariants still look at what matters.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, ClassVar, TypeVar
from unittest import mock

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workers.explore.models import EDITS, cancels, operator, undo
from tests.workers.explore.test_saga import (
    FAULTY,
    PIVOT,
    RESUME,
    SAGAS,
    Nested,
    Rails,
    a_step,
    it_is_not_running_at_the_end,
    plan,
)
from workers.interceptors import failures
from workers.patterns import guarded_calls
from workers.patterns.decisions import DecisionResult
from workers.patterns.handlers import HoldHandlers
from workers.patterns.saga import compensation, ledger, saga, steps
from workers.patterns.saga import workflow as saga_workflow
from workers.patterns.saga.plan import SagaStep
from workers.testing.explore import Scenario, Violation, variant
from workers.testing.invariants import SAGA, history_bounded
from workers.testing.world import Activity, Call, World

TRACES = 1_500
"""At most, of one plant; most need a few dozen."""
