"""The suite of tests/server/test_text_path.py, with the engines of this folder."""

from tests.server.test_text_path import *  # noqa: F403 - a suite is all of it
