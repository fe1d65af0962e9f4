"""Millstream and other job runtimes behind one interface, all running the same two jobs.

`systems.py` is what the benches use. Each other module is one system: its jobs, its worker's command and its ways to
submit. Those of other projects run in an environment of their own, made from `requirements.txt`, so nothing but the
standard library is shared with them.
"""
