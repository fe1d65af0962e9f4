"""The release of this installation, in a module of its own: reading package metadata takes tens of milliseconds."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("millstream")
except PackageNotFoundError:
    # A checkout that is imported without being installed.
    __version__ = "0"
