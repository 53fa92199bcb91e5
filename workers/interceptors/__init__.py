"""What every worker of ours does around workflows and activities, so that no workflow has to copy it.

Their order is in workers/process/plugins.py.
"""

from __future__ import annotations
