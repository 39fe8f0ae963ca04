"""`trident generate` and `trident chat` as a user runs them: processes, pipes and Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from trident_client.sampling import DEFAULT_MAX_TOKENS

from .call import call
from .scripted_server import Complain, Hang, Say

TRIDENT = [sys.executable, "-c", "from trident.cli import main; main()"]


def start(*arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*TRIDENT, *arguments], text=True, **pipes)


def read_until(process, text):
    """What the process writes up to and including `text`."""
    seen = ""
    while not seen.endswith(text):
        piece = process.stdout.read(1)
        assert piece, f"ended after {seen!r}: {process.stderr.read()}"
        seen += piece
    return seen


def messages_of(seen):
    return [(message["role"], message["content"]) for message in json.loads(seen["inputs"]["messages"][0])]


@pytest.fixture
def address(server):
    return ["--url", server.grpc_url]


def test_generate_writes_the_text_alone_when_piped(server, url, protocol):
    address = ["--url", url, "--protocol", protocol]
    server.script = [Say("über "), Say("all", "stop", {"num_output_tokens": 2})]
    result = call("generate", "Hi", *address, "--max-tokens", "7", "--stop", "x", "--stop", "y", "--seed", "3")
    assert (result.returncode, result.stdout, result.stderr) == (0, "über all\n", "")
    sent = server.requests[0]["inputs"]
    assert (sent["max_tokens"], sent["stop_words"]) in ((7, ["x", "y"]), ([7], ["x", "y"]))


@pytest.mark.parametrize("argument", [[], ["-"]])
def test_generate_reads_stdin(server, address, argument):
    server.script = [Say("", "stop")]
    call("generate", *argument, *address, stdin="two\nlines\n")
    assert server.requests[0]["inputs"]["text_input"] == ["two\nlines"]


@pytest.mark.parametrize("option", [[], ["--no-stream"]])
def test_generate_json_is_one_object(server, address, option):
    server.script = [Say("Hello", "length", {"num_input_tokens": 3, "num_output_tokens": 2})]
    result = call("generate", "Hi", *address, "--json", *option)
    answer = json.loads(result.stdout)
    assert answer.pop("ttft_ms") > 0
    assert answer.pop("tokens_per_s") > 0
    usage = {"num_input_tokens": 3, "num_output_tokens": 2}
    assert answer == {"text": "Hello", "finish_reason": "length", "usage": usage}
    assert server.requests[0]["inputs"]["stream"] == [not option]


def test_generate_streams_into_a_pipe_and_ctrl_c_cancels_on_the_server(server, address):
    server.script = [Say("first"), Hang(), Say("", "cancelled")]
    with start("generate", "Hi", *address) as process:
        read_until(process, "first")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert server.cancels == [server.requests[0]["id"]]


def test_an_error_is_one_line_and_its_exit_status(server, address):
    server.script = [Complain("in ensemble 'ensemble', max_tokens must be in 1..512, got 0")]
    result = call("generate", "Hi", *address)
    assert (result.returncode, result.stderr) == (2, "trident: max_tokens must be in 1..512, got 0\n")


def test_no_server_is_one_line_that_says_what_to_do():
    result = call("generate", "Hi", "--url", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("trident: no answer from 127.0.0.1:1 (")
    assert result.stderr.endswith("is `trident serve` running there?\n")


def test_help_names_the_default_that_the_client_has():
    assert f"[default: ({DEFAULT_MAX_TOKENS})]" in " ".join(call("generate", "--help").stdout.split())


def test_chat_keeps_the_history_until_reset(server, address):
    server.script = [Say("fine", "stop")]
    result = call("chat", *address, "--system", "Be brief.", stdin="How?\n\nWhy?\n/reset\nWho?\n/quit\nnever\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\nfine\nfine\n", "")
    system, answer = ("system", "Be brief."), ("assistant", "fine")
    assert [messages_of(seen) for seen in server.requests] == [
        [system, ("user", "How?")],
        [system, ("user", "How?"), answer, ("user", "Why?")],
        [system, ("user", "Who?")],
    ]


def test_ctrl_c_ends_the_answer_and_not_the_chat(server, address):
    server.script = [Say("part"), Hang(), Say("", "cancelled")]
    with start("chat", *address) as process:
        process.stdin.write("Tell me\n")
        process.stdin.flush()
        read_until(process, "part")
        process.send_signal(signal.SIGINT)
        read_until(process, "\n")
        server.script = [Say("whole", "stop")]
        process.stdin.write("And?\n")
        process.stdin.close()
        assert process.stdout.read() == "whole\n"
        assert process.wait(20) == 0
        assert process.stderr.read() == "[stopped]\n"
    asked = [seen for seen in server.requests if seen["model"] == "ensemble"]
    assert server.cancels == [asked[0]["id"]]
    assert messages_of(asked[1]) == [("user", "Tell me"), ("assistant", "part"), ("user", "And?")]


def test_ctrl_c_at_the_prompt_of_a_terminal_ends_the_chat(server, address):
    main, side = pty.openpty()
    with subprocess.Popen([*TRIDENT, "chat", *address], stdin=side, stdout=side, stderr=side, text=True) as process:
        os.close(side)
        screen = b""
        while b"> " not in screen:
            screen += os.read(main, 1000)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    os.close(main)
    assert b"Traceback" not in screen


def test_chat_json_is_one_object_for_each_answer(server, address):
    server.script = [Say("fine", "stop", {"num_output_tokens": 1})]
    lines = call("chat", *address, "--json", stdin="How?\nWhy?\n").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["fine", "fine"]
