"""Where the project and the tests' data lie."""

import pathlib

PROJECT = pathlib.Path(__file__).parent.parent.parent
DATA = PROJECT / "tests" / "data"
