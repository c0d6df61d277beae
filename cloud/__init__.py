"""The cloud: takes lines from gateways, keeps them, shows them live."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("andon")
except PackageNotFoundError:  # run from the sources, not installed
    VERSION = "0"
