"""Folders that tests name: the checkout, and the shared data beside it where that is there."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"
