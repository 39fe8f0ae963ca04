"""The suite of tests/server/test_chaos.py, with the engines of this folder."""

from tests.server.test_chaos import *  # noqa: F403 - a suite is all of it
