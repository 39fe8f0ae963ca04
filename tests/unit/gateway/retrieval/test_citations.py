"""Marks of an answer are told as OpenAI tells of citations; a number that no passage has cites nothing."""

import openai
import pytest
from openai.types.chat.chat_completion_message import ChatCompletionMessage

from trident.gateway.retrieval.citations import Citations
from trident.gateway.retrieval.retriever import Passage

PASSAGES = (
    Passage("bees.md", "lines 3-9, Honey", "Bees make honey.", 0.91234),
    Passage("Über wasps?.txt", "line 1", "Wasps make paper.", 0.5),
)
CITATIONS = Citations("insects", "abc.1", PASSAGES, ("", "injection: persona, score 0.7"), 3)


def cited(text):
    """(passage, what of the text it is)."""
    numbers = {f"{passage.document}, {passage.place}": number for number, passage in enumerate(PASSAGES, start=1)}
    places = [each["url_citation"] for each in CITATIONS.annotations(text)]
    return [(numbers[place["title"]], text[place["start_index"] : place["end_index"]]) for place in places]


def test_every_mark_is_a_citation_of_its_passage():
    assert cited("Honey [1]. Paper [2], both [1, 2][1].") == [
        (1, "[1]"), (2, "[2]"), (1, "[1, 2]"), (2, "[1, 2]"), (1, "[1]"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "[0]", "[3]", "[99999]", "[-1]", "[1", "1]", "[a]", "(1)", "[1.5]", "[١]"])
def test_a_mark_that_names_no_passage_is_text(text):
    assert cited(text) == []


def test_of_a_mark_with_several_numbers_those_that_are_known_count():
    assert cited("x [1, 7]") == [(1, "[1, 7]")]


def test_openai_s_client_reads_them():
    message = ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": "Paper [2].", "annotations": CITATIONS.annotations("Paper [2].")}
    )
    (annotation,) = message.annotations
    assert annotation.type == "url_citation"
    assert annotation.url_citation.title == "Über wasps?.txt, line 1"
    assert annotation.url_citation.url == ("/v1/collections/insects/documents/%C3%9Cber%20wasps%3F.txt")
    assert openai.__version__


def test_the_passages_are_told_with_their_scores_and_what_was_found_in_them():
    body = CITATIONS.body()
    assert (body["collection"], body["version"], body["left_out"]) == ("insects", "abc.1", 3)
    first, second = body["passages"]
    assert first == {
        "number": 1, "document": "bees.md", "place": "lines 3-9, Honey", "score": 0.9123, "text": "Bees make honey.",
    }  # fmt: skip
    assert second["finding"] == "injection: persona, score 0.7"
