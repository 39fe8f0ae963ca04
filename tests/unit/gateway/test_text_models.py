"""What the text models say is asked where somebody answers, and remembered no longer than it may hold."""

import asyncio

import pytest

from tests.unit.gateway.clock import Clock
from tests.unit.gateway.scripted_upstream import config_of
from trident.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UnsupportedParameterError,
)
from trident.gateway.router import Router
from trident.gateway.text_models import TextModels

IDS = {"INPUT_ID": (1, 7, 2), "REQUEST_INPUT_LEN": (3,), "STOP_WORDS_IDS": (7, 1)}
TEXTS = {"OUTPUT": (b"a",), "TOKEN_TEXTS": (b"a",)}
REFUSAL = InvalidRequestError("max_tokens must be in 1..2048, got 2147483647")


class Upstreams:
    """By deployment, what it answers to everything."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getitem__(self, name):
        self.asked.append(name)
        answer = self.answers[name]

        class Client:
            async def infer(self, request):
                if answer == "hang":
                    await asyncio.Event().wait()
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Client()


def models(upstreams, clock=None, **route):
    deployments = dict.fromkeys(upstreams.answers, 1)
    config = config_of({"chat": {"deployments": deployments, **route}})
    return TextModels(Router(config), upstreams, clock or Clock(), patience_s=0.01)


@pytest.mark.parametrize("answer", [UnavailableError("gone"), "hang", AuthenticationError("no key")])
def test_who_cannot_answer_is_passed_over(answer):
    upstreams = Upstreams(one=answer, two=IDS)
    assert asyncio.run(models(upstreams).token_ids("chat", "r", "x")) == (1, 7, 2)
    assert upstreams.asked == ["one", "two"]


def test_without_special_tokens_only_the_text_s_own_are_left():
    assert asyncio.run(models(Upstreams(one=IDS)).token_ids("chat", "r", "x", has_special_tokens=False)) == (7,)


def test_when_nobody_can_answer_the_last_reason_is_told():
    with pytest.raises(UnavailableError, match="gone"):
        asyncio.run(models(Upstreams(one=UnavailableError("gone"))).texts("chat", "r", (1,)))


def test_nobody_waits_for_a_server_that_hangs():
    with pytest.raises(UnavailableError, match="no answer"):
        asyncio.run(models(Upstreams(one="hang")).texts("chat", "r", (1,)))


def test_a_server_without_text_models_is_told_as_such():
    with pytest.raises(UnsupportedParameterError, match="'chat'"):
        asyncio.run(models(Upstreams(one=NotFoundError("unknown model"))).texts("chat", "r", (1,)))


def test_the_text_of_ids_is_theirs():
    assert asyncio.run(models(Upstreams(one=TEXTS)).texts("chat", "r", (5,))).text == "a"


def test_names_of_tokens_are_asked_once_and_say_how_they_go_on_a_text():
    clock, upstreams = Clock(), Upstreams(one={"TOKEN_TEXTS": (b"first", b" first", b"")})
    asked = models(upstreams, clock)
    for _ in range(2):
        names = asyncio.run(asked.names("chat", "r", [5, 6]))
        assert (names[5], names[6]) == (b" first", b"")
    assert upstreams.asked == ["one"]
    clock.now = 3600.0
    asyncio.run(asked.names("chat", "r", [5, 6]))
    assert upstreams.asked == ["one", "one"]


@pytest.mark.parametrize(
    ("answer", "route", "longest"),
    [
        (REFUSAL, {}, 2048),
        (REFUSAL, {"max_tokens": 100}, 100),
        (REFUSAL, {"max_tokens": 5000}, 2048),
        (InvalidRequestError("another server's words"), {}, 128),
        (UnavailableError("gone"), {}, 128),
    ],
)
def test_a_completion_may_be_as_long_as_engine_and_route_allow(answer, route, longest):
    assert asyncio.run(models(Upstreams(one=answer), **route).longest_completion("chat", "r")) == longest


def test_the_engine_is_asked_again_after_a_while_and_at_once_when_it_was_gone():
    clock, upstreams = Clock(), Upstreams(one=UnavailableError("gone"))
    asked = models(upstreams, clock)

    def longest():
        return asyncio.run(asked.longest_completion("chat", "r"))

    assert longest() == 128
    upstreams.answers["one"] = REFUSAL
    assert [longest(), longest()] == [2048, 2048]
    assert len(upstreams.asked) == 2
    upstreams.answers["one"] = InvalidRequestError("max_tokens must be in 1..99, got 2147483647")
    clock.now = 3600.0
    assert longest() == 99
