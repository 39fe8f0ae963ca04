"""What the OpenVINO engine does beyond the adapter suite: log-probabilities, beams, guides, adapters, speculation."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.server.openvino_engines import CHANGED, EXACT, LORA_RANK, copy_engine, write_damped_model
from tests.unit.engines.listener import Listener, ask
from trident.bench.random_lora import LAYER_SHAPES, lora_weights, write_lora
from trident.engines.base import Sampling
from trident.engines.load import load_engine
from trident.engines.openvino_loras import read_loras
from trident.errors import EngineError, ManifestError
from trident.manifest import DraftModel, PromptLookup, find_engine, read_manifest
from trident.text.guides import Guide, GuideKind

ENGINES = Path(__file__).parents[2] / "engines"
EOS_IDS = (2, 0)
LORAS = ("red", "blue", "red_again")


class Hearer(Listener):
    """Keeps the log-probabilities and the beams too."""

    def __init__(self, engine) -> None:
        super().__init__(engine)
        self.log_probs = {}
        self.beams = {}

    def hear(self, progress) -> None:
        super().hear(progress)
        if progress.log_probs is not None:
            assert len(progress.log_probs) == len(progress.token_ids)
            self.log_probs.setdefault(progress.sequence, []).extend(progress.log_probs)
        if progress.beams:
            assert progress.end is not None
            assert progress.token_ids == []
            self.beams[progress.sequence] = progress.beams

    def answers(self, *sequences):
        """The ids of each, when all have ended."""
        self.run(*sequences)
        return [self.ids[sequence] for sequence in sequences]


class Model:
    """The engine's model itself, without a pipeline."""

    def __init__(self, directory) -> None:
        import openvino as ov  # noqa: PLC0415 - a test without OpenVINO is skipped before

        self._model = ov.Core().compile_model(directory / "openvino_model.xml", "CPU", EXACT)

    def log_probs(self, prompt_ids, token_ids) -> np.ndarray:
        """float64[token_ids], natural, of each token after the prompt and those before it."""
        ids = np.array([[*prompt_ids, *token_ids]], np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(ids.size)[np.newaxis],
            "beam_idx": np.zeros(1, np.int32),
        }
        results = self._model.create_infer_request().infer(feed)  # a new one, because it keeps what it has seen
        logits = results[0][0, len(prompt_ids) - 1 : -1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits[np.arange(len(token_ids)), token_ids]


@pytest.fixture(scope="module")
def built():
    """The embedded engine's directory; skips where the tier cannot run."""
    if importlib.util.find_spec("openvino_genai") is None:
        pytest.skip("no OpenVINO: openvino-genai is not installed (pip install 'trident-llm[cpu]')")
    try:
        return find_engine(ENGINES, "smollm2-135m")
    except ManifestError as exc:
        pytest.skip(f"no engine: {exc}")


@pytest.fixture(scope="module")
def tokenizer(built):
    return Tokenizer.from_file(str(built / "tokenizer" / "tokenizer.json"))


@pytest.fixture(scope="module")
def questions(tokenizer):
    """Chat prompts, as ids; the last repeats itself, so that its answer can be looked up."""
    item = "Item {} is a thing that costs {} coins. "
    texts = [
        "What is the capital of France?",
        "Write a story about a cat.",
        "Repeat this text: " + "".join(item.format(number, number * 7 % 13) for number in range(5)) * 2,
    ]
    chats = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in texts]
    return [tokenizer.encode(chat).ids for chat in chats]


@pytest.fixture(scope="module")
def directory(built, tmp_path_factory):
    """An engine with three adapters, `red_again` being `red` in other numbers, and room for two."""
    directory = tmp_path_factory.mktemp("adapted")
    red = lora_weights(1, CHANGED, LORA_RANK)
    halved = {name: array / 2 if "lora_B" in name else array for name, array in red.items()}
    write_lora(directory / "loras" / "red", red)
    write_lora(directory / "loras" / "blue", lora_weights(2, CHANGED, LORA_RANK))
    write_lora(directory / "loras" / "red_again", halved, lora_alpha=8, use_rslora=True)  # 8 / sqrt(4), not 8 / 4
    return copy_engine(built, directory, loras={name: f"loras/{name}" for name in LORAS}, max_loras=2)


@pytest.fixture(scope="module")
def loaded(directory):
    engine = load_engine(directory, read_manifest(directory))
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded):
    """Leaves nothing behind: the engine says so itself."""
    hearer = Hearer(loaded)
    yield hearer
    for sequence in hearer.asked:
        loaded.cancel(sequence)
    hearer.until_ended(*hearer.asked)
    hearer.until_idle()


@pytest.fixture
def load(built, tmp_path):
    """Loads one more engine, a copy with a changed manifest."""
    engines = []

    def load(**changes) -> Hearer:
        directory = copy_engine(built, tmp_path, **changes)
        engines.append(load_engine(directory, read_manifest(directory)))
        return Hearer(engines[-1])

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture(scope="module")
def model(directory):
    return Model(directory)


@pytest.fixture(scope="module")
def alone(loaded, questions):
    """The answer with each adapter while nothing else runs."""
    hearer = Hearer(loaded)
    return {name: hearer.answers(adapted(questions, name))[0] for name in (None, "red", "blue")}


def adapted(questions, lora_name):
    return ask(questions[0], 10, lora_name=lora_name)


def children() -> set[int]:
    """Process ids of this process's children."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, top_k=50, seed=3)])
def test_log_probs_are_the_model_s_own_whatever_the_temperature(engine, model, questions, sampling):
    sequence = ask(questions[0], 12, sampling=sampling, wants_log_probs=True)
    (token_ids,) = engine.answers(sequence)
    assert engine.log_probs[sequence] == pytest.approx(model.log_probs(questions[0], token_ids), abs=0.01)


def test_log_probs_that_nobody_asked_for_do_not_come(engine, questions):
    sequence = ask(questions[0])
    engine.run(sequence)
    assert sequence not in engine.log_probs


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, -1.0])
def test_beams_come_best_first_with_the_sum_of_their_log_probs(engine, model, questions, length_penalty):
    sequence = ask(questions[0], 24, beam_width=3, eos_ids=EOS_IDS, length_penalty=length_penalty)
    engine.run(sequence)
    beams = engine.beams[sequence]
    assert len(beams) == 3
    for beam in beams:
        expected = model.log_probs(questions[0], beam.token_ids).sum()
        assert beam.cum_log_prob == pytest.approx(expected, abs=0.05)
    scores = [beam.cum_log_prob / len(beam.token_ids) ** length_penalty for beam in beams]
    assert scores == sorted(scores, reverse=True)


def test_a_beam_ends_with_its_eos_id_and_without_any_at_max_tokens(engine, questions):
    bound, free = ask(questions[0], 24, beam_width=3, eos_ids=EOS_IDS), ask(questions[0], 24, beam_width=3)
    engine.run(bound, free)
    best = engine.beams[bound][0].token_ids
    assert (best[-1], engine.ends[bound]) == (EOS_IDS[0], "stop")
    assert not set(best[:-1]) & set(EOS_IDS)
    assert [len(beam.token_ids) for beam in engine.beams[free]] == [24] * 3
    assert engine.ends[free] == "length"


def test_a_beam_search_is_cancelled_and_gives_its_blocks_back(engine, questions):
    sequence = ask(questions[1], 400, beam_width=4)
    engine.submit(sequence)
    engine.listen(lambda: engine.engine.stats().num_running == 1)
    engine.engine.cancel(sequence)
    engine.until_ended(sequence)
    assert (engine.ends[sequence], sequence in engine.beams) == ("cancelled", False)
    engine.until_idle()


def test_a_guide_is_kept(engine, questions, tokenizer):
    regex = Guide(GuideKind.REGEX, "(cat|dog)(,(cat|dog)){3}")
    sequence = ask(questions[0], 40, guide=regex, eos_ids=EOS_IDS)
    (token_ids,) = engine.answers(sequence)
    assert re.fullmatch(regex.text, tokenizer.decode(token_ids))


def test_a_guide_that_cannot_be_compiled_is_refused_and_its_neighbours_do_not_notice(engine, questions):
    (undisturbed,) = engine.answers(ask(questions[1], 60))
    running, refused = ask(questions[1], 60), ask(questions[0], guide=Guide(GuideKind.EBNF_GRAMMAR, "root ::= nobody"))
    engine.submit(running)
    engine.until_running(running)
    engine.run(refused)
    engine.until_ended(running)
    assert engine.ids[running] == undisturbed
    assert re.search(r'guided_decoding_guide .*"nobody" is not defined', engine.ends[refused].message)
    assert "/" not in engine.ends[refused].message


def test_answers_with_different_adapters_are_computed_side_by_side_and_never_mix(engine, questions, alone):
    assert alone[None] != alone["red"] != alone["blue"] != alone[None]
    names = [None, "red", "blue"] * 2
    assert engine.answers(*[adapted(questions, name) for name in names]) == [alone[name] for name in names]


def test_an_adapter_is_as_strong_as_its_config_says(engine, questions, alone):
    assert engine.answers(adapted(questions, "red_again")) == [alone["red"]]


@pytest.mark.soak
def test_more_adapters_than_fit_take_turns(engine, questions, alone):
    names = ["red", "blue", "red_again", None, "red", "blue"]
    expected = [alone["red" if name == "red_again" else name] for name in names]
    assert engine.answers(*[adapted(questions, name) for name in names]) == expected


def test_an_adapter_may_change_every_part_of_a_layer(built, tmp_path):
    write_lora(tmp_path / "loras" / "all", lora_weights(1, LAYER_SHAPES, LORA_RANK))
    directory = copy_engine(built, tmp_path, loras={"all": "loras/all"})
    assert list(read_loras(directory, read_manifest(directory))) == ["all"]


def test_who_waits_for_an_adapter_is_told_apart_from_who_waits_for_a_place(directory, questions):
    """Also when nothing else happens, so that whoever fills the batch knows that its places are free."""
    loading = Hearer(load_engine(directory, read_manifest(directory)))
    first, second = adapted(questions, "red"), adapted(questions, "red")
    loading.submit(first, second)
    loading.listen(lambda: loading.engine.stats().num_preparing == 2)
    assert loading.engine.stats().num_queued == 2
    loading.until_running(first)
    assert loading.engine.stats().num_preparing == 0
    loading.until_ended(first, second)
    loading.engine.close()


def test_an_adapter_of_another_model_is_refused_when_the_engine_is_loaded(built, load, tmp_path):
    of_ours = lora_weights(1, CHANGED, LORA_RANK)
    weights = {name.replace("model.layers", "transformer.h"): array for name, array in of_ours.items()}
    write_lora(tmp_path / "red", weights)
    count = len(weights) // 2
    with pytest.raises(ManifestError, match=rf"LoRA adapter 'red' does not fit: .* \({count} of {count} are missing\)"):
        load(loras={"red": "red"})


@pytest.mark.parametrize("kind", ["prompt_lookup", pytest.param("draft_model", marks=pytest.mark.soak)])
def test_speculation_gives_the_model_s_own_tokens_also_when_the_cache_is_full(
    engine, load, built, tmp_path, questions, kind
):
    expected = engine.answers(*[ask(question, 32) for question in questions])
    if kind == "draft_model":
        write_damped_model(built, tmp_path / "draft", layers=(10, 20))  # so that some proposals are wrong
        for path in built.glob("openvino_*tokenizer.*"):
            (tmp_path / "draft" / path.name).symlink_to(path)
        speculation = DraftModel(kind="draft_model", path="draft", num_draft_tokens=3)
    else:
        speculation = PromptLookup(kind="prompt_lookup", num_draft_tokens=3, max_ngram_tokens=3)
    limits = {"max_seq_tokens": 280, "kv_cache_tokens": 288}  # one long or two short sequences
    speculating = load(speculation=speculation, limits=limits)
    asked = [ask(question, 32, wants_log_probs=True) for question in questions]
    assert speculating.answers(*asked) == expected
    assert [len(speculating.log_probs[sequence]) for sequence in asked] == [32] * 3
    assert speculating.engine.stats().num_accepted_draft_tokens > 5
    speculating.until_idle()


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_num_batched_tokens": 200}, "max_num_batched_tokens must be at least 256"),
        ({"kv_cache_tokens": 4096}, "kv_cache_tokens must be at least 6176"),
    ],
)
def test_limits_under_which_speculation_goes_wrong_are_refused(load, limits, named):
    with pytest.raises(ManifestError, match=named):
        load(speculation=PromptLookup(kind="prompt_lookup", num_draft_tokens=3, max_ngram_tokens=3), limits=limits)


@pytest.mark.soak
def test_preempted_sequences_are_counted_and_come_to_the_same_tokens(engine, load, questions):
    expected = engine.answers(*[ask(questions[1], 40) for _ in range(4)])
    small = load(limits={"kv_cache_tokens": 192, "max_seq_tokens": 192})
    num_paused = []
    asked = [ask(questions[1], 40) for _ in range(4)]
    small.submit(*asked)

    def has_ended():
        num_paused.append(small.engine.stats().num_paused)
        return all(sequence in small.ends for sequence in asked)

    small.listen(has_ended)
    assert [small.ids[sequence] for sequence in asked] == expected
    assert max(num_paused) > 0
    stats = small.engine.stats()
    assert (stats.max_kv_blocks, stats.kv_block_tokens, stats.num_paused) == (6, 32, 0)


def test_submitting_and_cancelling_never_wait_for_the_engine_and_its_death_is_told(load):
    before = children()
    stopped = load()
    (pid,) = children() - before
    assert stopped.engine.stats().max_kv_blocks == math.ceil(32768 / 32)
    os.kill(pid, signal.SIGSTOP)
    asked = [ask([504], 2), *[ask(range(300, 4300), 2) for _ in range(299)]]  # more bytes than a socket takes
    stopped.submit(*asked)
    for sequence in asked[1:]:
        stopped.engine.cancel(sequence)
    os.kill(pid, signal.SIGCONT)
    stopped.until_ended(*asked)
    assert [stopped.ends[sequence] for sequence in asked] == ["length"] + ["cancelled"] * 299
    stopped.until_idle()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="ended unexpectedly"):
        stopped.engine.wait(None)
