"""`manage.py up`: everything that a person needs to see Signalbox work, under one roof and ended together.

`place` is the state folder, `temporal` the server, `children` the processes, `warden` what ends them when we
cannot, `house` puts them together.
"""
