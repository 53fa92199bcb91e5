"""`manage.py up`: starts everything that a person needs to see Signalbox work, and ends it together.

`state_dir` is the state folder, `temporal_server` the server, `children` the processes, `watchdog` the one
that ends them when the supervisor is killed; `supervisor` puts them together.
"""

from __future__ import annotations
