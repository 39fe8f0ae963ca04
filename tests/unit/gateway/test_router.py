"""Routing: rules, policies, order of fallbacks, what is kept when the file is rewritten, and every refused file."""

import asyncio
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.loop import turns
from tests.unit.gateway.scripted_upstream import asked_for, config_of
from trident.errors import NotFoundError, QueueFullError, SettingsError, UnavailableError
from trident.gateway.deployment_state import STALE_S, EngineLoad
from trident.gateway.identity import Identity
from trident.gateway.prompt_text import estimated_tokens, last_user_text, leading_text, whole_text
from trident.gateway.router import Router
from trident_client.request import TemplatePrompt
from trident_client.sampling import Sampling

CHAT = {"chat": {"deployments": {"main": 1}}, "cheap": {"deployments": {"small": 1}}}
MESSAGES = (
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": [{"type": "text", "text": "first"}, {"type": "text", "text": " one"}]},
    {"role": "assistant", "content": None},
    {"role": "user", "content": "translate this"},
)


def label_of(text):
    return "question" if text.endswith("?") else "other"


def fails(text):
    raise ValueError(text)


GO_ON = threading.Event()


def is_slow(text):
    """Answers when a test lets it."""
    GO_ON.wait(20)
    return "question"


@pytest.fixture
def go_on():
    GO_ON.clear()
    yield GO_ON
    GO_ON.set()


NOT_A_FUNCTION = 3


def router_of(when, **rule):
    return Router(config_of(CHAT, [{"name": "r", "when": when, "use_model": "cheap", **rule}]))


def model_for(when, asked):
    router = router_of(when)
    return router.decide(asked, asyncio.run(router.labels_of(asked))).model


@pytest.mark.parametrize(
    ("when", "fitting", "other"),
    [
        ({"model": "chat"}, {}, {"model": "cheap"}),
        ({"tenant": ["acme"]}, {"identity": Identity("acme", "k")}, {"identity": Identity("umbrella", "k")}),
        ({"group": ["free"]}, {"identity": Identity("a", "k", groups=frozenset({"free", "x"}))}, {}),
        ({"operation": ["text_completion"]}, {"operation": "text_completion"}, {}),
        ({"prompt_matches": "(?i)^translate"}, {"prompt": MESSAGES}, {"prompt": MESSAGES[:2]}),
        ({"prompt_matches": "kind"}, {"prompt": "be kind"}, {"prompt": MESSAGES}),
        ({"prompt_matches": "b$"}, {"prompt": "a\ud800b"}, {"prompt": "a\ud800"}),
        ({"min_prompt_tokens": 3}, {"prompt": "seven c"}, {"prompt": "six ch"}),
        ({"max_prompt_tokens": 2}, {"prompt": "six ch"}, {"prompt": "seven c"}),
        ({"has_tools": True}, {"sampling": Sampling(tools=[{}])}, {}),
        ({"has_tools": False}, {}, {"sampling": Sampling(tools=[{}])}),
        ({"classifier": f"{__name__}:label_of", "label": "question"}, {"prompt": "why?"}, {"prompt": "so."}),
        ({"tenant": ["acme"], "has_tools": False}, {"identity": Identity("acme", "k")}, {}),
    ],
)
def test_a_rule_sends_what_fits_its_condition_to_its_model_and_nothing_else(when, fitting, other):
    assert model_for(when, asked_for(**fitting)) == "cheap"
    if other.get("model") != "cheap":
        assert model_for(when, asked_for(**other)) == "chat"
    else:
        assert len(router_of(when).decide(asked_for(**other)).reasons) == 2


def test_the_first_rule_that_fits_decides_and_one_may_say_that_nothing_changes():
    rules = [
        {"name": "vip", "when": {"tenant": ["acme"]}, "use_model": "chat"},
        {"name": "rest", "use_model": "cheap"},
    ]
    router = Router(config_of(CHAT, rules))
    assert router.decide(asked_for(identity=Identity("acme", "k"))).model == "chat"
    assert router.decide(asked_for()).reasons[1] == "rule rest: model cheap"


def test_a_rule_for_everything_leaves_models_that_embed_alone():
    models = {**CHAT, "vectors": {"deployments": {"small": 1}, "operation": "embeddings"}}
    router = Router(config_of(models, [{"name": "all", "use_model": "cheap"}]))
    assert router.decide(asked_for("vectors", operation="embeddings")).model == "vectors"


def test_a_rule_that_escalates_names_the_model_that_was_asked_as_the_next():
    decision = router_of({}, escalate=True).decide(asked_for())
    assert (decision.candidates, decision.escalation.candidates) == (("small",), ("main",))
    assert router_of({}).decide(asked_for()).escalation is None


@pytest.mark.usefixtures("go_on")
@pytest.mark.parametrize("function", ["fails", "is_slow"])
def test_a_classifier_that_fails_or_takes_its_time_has_said_nothing(function):
    assert model_for({"classifier": f"{__name__}:{function}", "label": "question"}, asked_for(prompt="why?")) == "chat"


def test_a_classifier_is_not_asked_about_requests_that_its_rule_cannot_hold_for():
    router = router_of({"classifier": f"{__name__}:fails", "label": "x", "tenant": ["acme"]})
    assert asyncio.run(router.labels_of(asked_for())) == {}


@pytest.mark.parametrize(
    ("models", "rules", "names"),
    [
        (CHAT, [{"name": "r", "when": {"prompt_matches": "(?=a)"}, "use_model": "chat"}], "no RE2 pattern"),
        (CHAT, [{"name": "r", "when": {"classifier": "no.such:f", "label": "a"}, "use_model": "chat"}], "no.such"),
        (CHAT, [{"name": "r", "when": {"classifier": f"{__name__}:nope", "label": "a"}, "use_model": "chat"}], "nope"),
        (CHAT, [{"name": "r", "when": {"classifier": "plain", "label": "a"}, "use_model": "chat"}], "package.module"),
        (
            CHAT,
            [{"name": "r", "when": {"classifier": f"{__name__}:NOT_A_FUNCTION", "label": "a"}, "use_model": "chat"}],
            "not a function",
        ),
        (CHAT, [{"name": "r", "when": {"classifier": "broken:f", "label": "a"}, "use_model": "chat"}], "its weights"),
        (CHAT, [{"name": "r", "when": {"label": "a"}, "use_model": "chat"}], "go together"),
        (CHAT, [{"name": "r", "when": {"min_prompt_tokens": 3, "max_prompt_tokens": 2}, "use_model": "chat"}], "more"),
        (CHAT, [{"name": "r", "use_model": "chatt"}], "did you mean 'chat'"),
        (CHAT, [{"name": "r", "use_model": "chat"}, {"name": "r", "use_model": "chat"}], "another rule 'r'"),
        (CHAT, [{"name": "r", "when": {"promt_matches": "a"}, "use_model": "chat"}], "did you mean 'prompt_matches'"),
        (CHAT, [{"name": "r", "when": {"operation": ["talk"]}, "use_model": "chat"}], "operation"),
        ({"chat": {"deployments": {"a": 0}}}, [], "all weights are 0"),
        ({"chat": {"deployments": {"a": -1}}}, [], "weight of 'a' is -1"),
        ({"chat": {"deployments": {"a": float("nan")}}}, [], "weight of 'a' is nan"),
        ({"chat": {"deployments": {"a": 1}, "fallbacks": ["a"]}}, [], "named twice"),
        ({"chat": {"deployments": {"a": 1}, "aliases": ["b"]}, "b": {"deployments": {"a": 1}}}, [], "two models"),
    ],
)
def test_a_file_that_could_fail_on_a_request_is_refused_with_its_place(models, rules, names, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('cannot read its weights')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=names):
        config_of(models, rules)


def test_an_unknown_model_is_told_with_the_nearest_name():
    with pytest.raises(NotFoundError, match="did you mean 'cheap'"):
        Router(config_of(CHAT)).route_of("chepa")


def test_fallbacks_and_weights_of_0_are_asked_last():
    models = {"chat": {"deployments": {"zero": 0, "main": 1}, "fallbacks": ["spare"]}}
    assert Router(config_of(models)).decide(asked_for()).candidates == ("main", "zero", "spare")


def test_a_sticky_user_gets_the_same_deployment_and_drawn_requests_do_not():
    models = {
        "kept": {"deployments": {"a": 1, "b": 1}, "sticky": "user"},
        "drawn": {"deployments": {"a": 1, "b": 1}},
    }
    router = Router(config_of(models), chance=random.Random(3).random)
    firsts = {name: {router.decide(asked_for(name, user="ann")).candidates[0] for _ in range(50)} for name in models}
    assert (len(firsts["kept"]), len(firsts["drawn"])) == (1, 2)


def loaded(policy="least_loaded", **route):
    """Two deployments, a clock, and the engines' word set by `state.read`."""
    now = [0.0]
    models = {"chat": {"deployments": {"a": 1, "b": 1}, "policy": policy, **route}}
    return Router(config_of(models), chance=random.Random(1).random, clock=lambda: now[0]), now


def test_least_loaded_goes_by_the_engines_own_queues_in_proportion_to_their_places():
    router, _ = loaded()
    router.states["a"].read(EngineLoad(10, 100))
    router.states["b"].read(EngineLoad(5, 10))
    decision = router.decide(asked_for())
    assert decision.candidates == ("a", "b")
    assert decision.reasons[-1] == "least loaded by the engines' own queues: a 0.1 b 0.5"


def test_between_two_readings_the_gateways_own_requests_count():
    router, _ = loaded()
    router.states["a"].read(EngineLoad(0, 4))
    router.states["b"].read(EngineLoad(1, 4))
    places = [router.enter("a"), router.enter("a")]
    assert router.decide(asked_for()).candidates[0] == "b"
    for place in places:
        place.leave()
    assert router.decide(asked_for()).candidates[0] == "a"


def test_a_stale_reading_or_an_engine_that_tells_nothing_leaves_the_requests_in_flight():
    router, now = loaded()
    router.states["a"].read(EngineLoad(50, 100))
    router.states["b"].read(EngineLoad(0, 100))
    router.enter("b")
    assert router.decide(asked_for()).candidates[0] == "b"
    now[0] += STALE_S + 0.1
    decision = router.decide(asked_for())
    assert decision.candidates[0] == "a"
    assert "requests in flight" in decision.reasons[-1]


def test_the_same_beginning_goes_to_the_same_deployment_as_a_conversation_grows():
    router, _ = loaded("prefix_affinity")
    firsts = {router.decide(asked_for(prompt=MESSAGES[:length])).candidates[0] for length in (2, 3, 4)}
    assert len(firsts) == 1
    spread = {router.decide(asked_for(prompt=f"prompt {number}")).candidates[0] for number in range(30)}
    assert spread == {"a", "b"}


@given(st.lists(st.sampled_from("xyz"), max_size=60))
def test_prefix_affinity_never_gives_a_deployment_much_more_than_its_share(prompts):
    """At most a quarter more than half of what runs, rounded up."""
    router, _ = loaded("prefix_affinity")
    for number, prompt in enumerate(prompts, start=1):
        router.enter(router.decide(asked_for(prompt=prompt)).candidates[0])
        assert max(state.num_running for state in router.states.values()) <= -(-1.25 * number // 2)


def test_why_an_overloaded_deployment_is_not_taken_is_told():
    router, _ = loaded("prefix_affinity")
    first = router.decide(asked_for()).candidates[0]
    places = [router.enter(first) for _ in range(4)]
    decision = router.decide(asked_for())
    assert decision.candidates[0] != first
    assert decision.reasons[-1] == f"prefix affinity, but {first} has 4 of at most 4 requests"
    for place in places:
        place.leave()


def test_a_deployment_that_would_not_be_let_in_is_told_as_passed_over():
    router = Router(config_of({"chat": {"deployments": {"a": 1}, "fallbacks": ["b"]}}, a={"max_concurrent": 1}))
    router.enter("a")
    assert router.decide(asked_for()).reasons[-1] == "not a: 1 of 1 requests run"
    with pytest.raises(QueueFullError):
        router.enter("a")


def test_what_is_known_of_a_deployment_stays_when_only_its_limits_change():
    models = {"chat": {"deployments": {"a": 1}}}
    router = Router(config_of(models))
    place = router.enter("a")
    router.update(config_of(models, a={"max_concurrent": 1}))
    with pytest.raises(QueueFullError):
        router.enter("a")
    place.leave()
    router.enter("a").leave()


def test_a_deployment_that_moved_begins_anew_and_one_that_went_lets_nobody_in():
    models = {"chat": {"deployments": {"a": 1}}}
    router = Router(config_of(models))
    for _ in range(3):
        place = router.enter("a")
        place.failed()
        place.leave()
    with pytest.raises(UnavailableError):
        router.enter("a")
    router.update(config_of(models, a={"url": "elsewhere:8001"}))
    late = router.enter("a")
    router.update(config_of({"chat": {"deployments": {"b": 1}}}))
    late.leave()
    with pytest.raises(UnavailableError, match="no longer"):
        router.enter("a")


def test_a_shadow_gets_its_fraction():
    models = {"chat": {"deployments": {"a": 1}, "shadow": "b", "shadow_fraction": 0.25}}
    router = Router(config_of(models), chance=random.Random(5).random)
    shadows = [router.decide(asked_for()).shadow for _ in range(2000)]
    assert abs(shadows.count("b") / 2000 - 0.25) < 0.04


@given(st.text(), st.text())
def test_no_reason_tells_anything_of_the_prompt(prompt, user):
    marked = f"\N{SNOWMAN}{prompt}"
    models = {"chat": {"deployments": {"a": 1, "b": 1}, "sticky": "user", "policy": "prefix_affinity"}}
    rules = [{"name": "r", "when": {"prompt_matches": "."}, "use_model": "chat"}]
    decision = Router(config_of(models, rules)).decide(asked_for(prompt=marked, user=f"\N{SNOWMAN}{user}"))
    assert "\N{SNOWMAN}" not in "".join(decision.reasons)


def test_what_is_read_of_prompts():
    template = TemplatePrompt("greet@1", {"name": "Ann", "age": 3})
    assert whole_text(MESSAGES) == "be kind\nfirst one\n\ntranslate this"
    assert last_user_text(MESSAGES) == "translate this"
    assert last_user_text(MESSAGES[:1]) == ""
    assert leading_text(MESSAGES, 100) == "system: be kind\nuser: first one"
    assert leading_text("abcdef", 3) == "abc"
    assert whole_text(template) == last_user_text(template) == leading_text(template, 99) == "greet@1\nAnn\n3"
    assert estimated_tokens("\N{SNOWMAN}") == 1
    assert estimated_tokens("\ud800") == 1


def test_what_a_classifier_was_asked_before_the_file_is_rewritten_is_still_answered(go_on):
    """Ten wait for two threads when it happens; none of them is taken for a client that left."""
    when = {"classifier": f"{__name__}:is_slow", "label": "question"}
    rules = [{"name": "r", "when": when, "use_model": "cheap"}]

    async def use():
        router = Router(config_of(CHAT, rules))
        asking = [asyncio.ensure_future(router.labels_of(asked_for())) for _ in range(10)]
        await turns()
        router.update(config_of(CHAT))
        go_on.set()
        return await asyncio.gather(*asking)

    assert [list(labels.values()) for labels in asyncio.run(use())] == [["question"]] * 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "role"]), inner),
    max_leaves=6,
)


@given(
    prompt=st.text(st.characters()) | st.lists(st.dictionaries(st.sampled_from(["role", "content", "name"]), JSON)),
    user=st.text(st.characters()),
)
def test_whatever_the_messages_hold_a_decision_is_made(prompt, user):
    """What is wrong in them the model's own template says."""
    models = {
        "chat": {"deployments": {"a": 1, "b": 1}, "sticky": "user"},
        "prefix": {"deployments": {"a": 1, "b": 1}, "policy": "prefix_affinity"},
    }
    when = {"model": "chat", "prompt_matches": "a", "min_prompt_tokens": 1}
    router = Router(config_of(models, [{"name": "r", "when": when, "use_model": "prefix", "escalate": True}]))
    for model in models:
        assert set(router.decide(asked_for(model, prompt, user=user)).candidates) == {"a", "b"}
