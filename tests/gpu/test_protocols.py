"""The suite of tests/server/test_protocols.py, with the engines of this folder."""

from tests.server.test_protocols import *  # noqa: F403 - a suite is all of it
