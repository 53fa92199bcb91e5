"""What viewers do to workflows: one module an action, or a few that are one idea, each registered by
`extend.Action`. `offers` makes their forms, `view` receives these, `decide` is the one way to do them."""

from __future__ import annotations
