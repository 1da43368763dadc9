# SPDX-License-Identifier: LGPL-2.1-or-later
"""A web server that misbehaves as its path says; for tests of downloads. As a program: hostile_server.py PORT, in a box.

    /ok[/…]             the content, with ETag and Range
    /weak /dated /bare  likewise with a weak ETag, with Last-Modified alone, with neither
    /norange            likewise, but the whole of it is sent whatever was asked for
    /drop/N[/…]         the first request gets N bytes and then nothing more: the connection is closed
    /droppy/N           each request gets N bytes
    /changes/N          likewise the first; from then on it is CHANGED, with another ETag
    /mixed/N            likewise, but the ETag stays, and a Range is served
    /wrongpart          a Range is answered with another one
    /stall/N            N bytes, then silence
    /once/N             the first request stalls so, the others are served
    /short /long        fewer, or more bytes than Content-Length says; /long says 5
    /close              no Content-Length; the connection is closed at the end
    /endless            chunks without end
    /bomb               a megabyte of zeros as gzip, said to be encoded so
    /empty              nothing, with status 200
    /garbage /silent    no HTTP; nothing at all
    /loop/N             redirects to /loop/N+1
    /to?URL             redirects there
    /status/N           that status; 503 with Retry-After: 1
    /twice/N            that status once, then the content
    /auth               401 without "Authorization: Basic dTpw" (u:p)
    /file?HEX           what is in HEX, whatever the rest of the path
    /log                the requests up to now, as JSON
"""

import gzip
import http.server
import json
import os
import socket
import sys
import threading
from urllib.parse import unquote

CONTENT = bytes(range(256)) * 1024  # 256 KiB
CHANGED = CONTENT[::-1]
SMALL = b"hello\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("http://"):  # we are a proxy
            path = "/" + path.split("/", 3)[3]
        if path == "/log":
            return self.whole(json.dumps(self.server.requests).encode())
        with self.server.lock:
            n = sum(1 for r in self.server.requests if r["path"] == path)
            self.server.requests.append({"path": path, "query": query, "headers": dict(self.headers.items()),
                                         "target": self.path})
        words = path.strip("/").split("/")
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        getattr(self, "on_" + words[0], self.on_unknown)(number, n, query)

    # ---- Answers ----

    def head(self, status=200, length=None, **fields):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self, content, **fields):
        self.head(200, len(content), **fields)
        self.wfile.write(content)

    def hang_up(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait(self):
        """Until the other side is gone, or the server is."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.settimeout(60)
        try:
            self.connection.recv(1)
        except OSError:
            pass

    def serve(self, content, validator=None, condition=True, **fields):
        """With Range, if the condition of If-Range holds."""
        wanted = self.headers.get("Range")
        start = int(wanted[len("bytes="):-1]) if wanted else 0
        if wanted and (not condition or self.headers.get("If-Range", validator) == validator):
            if start >= len(content):
                return self.head(416, 0, Content_Range=f"bytes */{len(content)}")
            self.head(206, len(content) - start, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", **fields)
            self.wfile.write(content[start:])
        else:
            self.whole(content, **fields)

    def cut(self, content, n, **fields):
        self.head(200, len(content), **fields)
        self.wfile.write(content[:n])
        self.hang_up()

    # ---- Paths ----

    def on_unknown(self, *_):
        self.head(404, 0)

    def on_ok(self, *_):
        self.serve(CONTENT, '"1"', ETag='"1"')

    def on_small(self, *_):
        self.serve(SMALL, '"1"', ETag='"1"')

    def on_weak(self, number, n, _):
        self.cut(CONTENT, 1000, ETag='W/"1"') if n == 0 else self.serve(CONTENT, ETag='W/"1"')

    def on_dated(self, number, n, _):
        date = "Sat, 21 Nov 2026 10:00:00 GMT"
        self.cut(CONTENT, 1000, Last_Modified=date) if n == 0 else self.serve(CONTENT, date, Last_Modified=date)

    def on_bare(self, number, n, _):
        self.cut(CONTENT, 1000) if n == 0 else self.serve(CONTENT)

    def on_norange(self, number, n, _):
        self.cut(CONTENT, 1000, ETag='"1"') if n == 0 else self.whole(CONTENT, ETag='"1"')

    def on_drop(self, number, n, _):
        self.cut(CONTENT, number, ETag='"1"') if n == 0 else self.serve(CONTENT, '"1"', ETag='"1"')

    def on_droppy(self, number, *_):
        self.cut(CONTENT, number, ETag='"1"')

    def on_changes(self, number, n, _):
        self.cut(CONTENT, number, ETag='"1"') if n == 0 else self.serve(CHANGED, '"2"', ETag='"2"')

    def on_mixed(self, number, n, _):
        self.cut(CHANGED, number, ETag='"1"') if n == 0 else self.serve(CONTENT, '"1"', ETag='"1"')

    def on_wrongpart(self, number, n, _):
        if n == 0:
            return self.cut(CONTENT, 1000, ETag='"1"')
        self.head(206, 100, Content_Range=f"bytes 500-599/{len(CONTENT)}", ETag='"1"')
        self.wfile.write(CONTENT[500:600])

    def on_stall(self, number, *_):
        self.head(200, len(CONTENT), ETag='"1"')
        self.wfile.write(CONTENT[:number])
        self.wait()

    def on_once(self, number, n, _):
        self.on_stall(number) if n == 0 else self.serve(CONTENT, '"1"', ETag='"1"')

    def on_short(self, *_):
        self.head(200, len(SMALL) + 5)
        self.wfile.write(SMALL)
        self.hang_up()

    def on_long(self, *_):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + SMALL * 10)
        self.hang_up()

    def on_close(self, *_):
        self.head(200, None, Connection="close")
        self.wfile.write(SMALL)
        self.hang_up()

    def on_endless(self, *_):
        self.head(200, None, Transfer_Encoding="chunked")
        try:
            while True:
                self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            self.close_connection = True

    def on_bomb(self, *_):
        self.whole(gzip.compress(bytes(1 << 20), mtime=0), Content_Encoding="gzip")

    def on_empty(self, *_):
        self.whole(b"", ETag='"0"')

    def on_garbage(self, *_):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.hang_up()

    def on_silent(self, *_):
        self.wait()

    def on_loop(self, number, *_):
        self.head(302, 0, Location=f"/loop/{number + 1}")

    def on_to(self, number, n, query):
        body = b"<html>moved</html>"
        self.head(302, len(body), Location=unquote(query))
        self.wfile.write(body)

    def on_status(self, number, *_):
        self.head(number, 6, **({"Retry_After": "1"} if number == 503 else {}))
        self.wfile.write(b"sorry\n")

    def on_twice(self, number, n, _):
        self.on_status(number) if n == 0 else self.whole(SMALL)

    def on_auth(self, *_):
        if self.headers.get("Authorization") != "Basic dTpw":
            return self.head(401, 0, WWW_Authenticate='Basic realm="x"')
        self.whole(SMALL)

    def on_file(self, number, n, query):
        self.whole(bytes.fromhex(query))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port=0, context=None, host="127.0.0.1"):
        """@context: an ssl.SSLContext"""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.requests = []
        self.lock = threading.Lock()
        self.port = self.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def handle_error(self, *_):
        pass

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self


def main():
    server = Server(int(sys.argv[1]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.send(b"READY=1")
    server.serve_forever()


if __name__ == "__main__":
    main()
