"""Runs one test file under Bazel: py_test wants a program, the tests are pytest's."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([*sys.argv[1:], "-p", "no:cacheprovider", "--numprocesses=0"]))
