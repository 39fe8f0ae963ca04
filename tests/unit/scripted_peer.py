"""A peer's server that follows a script: `python scripted_peer.py SCRIPT [--port] PORT`, the standard library alone.

Scripts: `serve` answers every completion in one event a token; `short` ends a token early; `refuse` says 400;
`fail` streams an error; `break` closes in the middle; `hang` sends nothing; `plain` streams without chunks;
`mute` never says that it is healthy; `deaf` also ignores SIGTERM; `exit` writes a line and ends at once.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCRIPT, PORT = sys.argv[1], int(sys.argv[-1])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(503 if SCRIPT == "mute" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        num_tokens = request["max_tokens"] - (SCRIPT == "short")
        if SCRIPT == "refuse" or not request["prompt"] or not request["stream"]:
            self.send_error(400, "bad prompt")
            return
        if SCRIPT == "hang":
            time.sleep(60)
        self.send_response(200)
        if SCRIPT != "plain":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.say({"choices": [{"text": "", "finish_reason": None}]})
        if SCRIPT == "fail":
            self.say({"error": {"message": "out of memory"}})
        for number in range(num_tokens):
            if SCRIPT == "break" and number == 1:
                os._exit(3)
            self.say({"choices": [{"text": f" {number}", "finish_reason": None}]})
        self.say({"choices": [], "usage": {"completion_tokens": num_tokens}})
        self.send(b"data: [DONE]\n\n")
        if SCRIPT != "plain":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def say(self, event):
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        self.send(data[:9])  # an event may be cut anywhere
        self.send(data[9:])

    def send(self, data):
        self.wfile.write(data if SCRIPT == "plain" else b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


if SCRIPT == "exit":
    sys.exit("no such model")
if SCRIPT == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
