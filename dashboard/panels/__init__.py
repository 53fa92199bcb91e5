"""What a workflow says about itself: one module a contract, registered by `extend.Panel`. `build` makes the
panels of a run; `headline` and `timeline` are on every page of one."""

from __future__ import annotations
