"""Pull from a server on this machine: whole, cut, wrong, missing, offline, through a proxy."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from torch import Tensor

from vqmeter.errors import OutputError, WeightsError
from vqmeter.weights import find
from vqmeter.weights.transfer import pull

State = dict[str, Tensor]
Run = Callable[..., Result]
Offer = Callable[..., Path]


CONTENT = np.random.default_rng(5).bytes(700_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cuts` are lengths after which it drops the next connections; `asked` are requests as they came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.cuts: list[int] = []
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_port}/file.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Range"]))
        if self.path.endswith("missing.pt"):
            self.send_error(404)
            return
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start : start + cut])
        if cut < len(CONTENT) - start:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def offered(home: Any, server: Server) -> Offer:
    """Offers the server's file under the name `it`; gives the path it will be pulled to."""

    def offer(url: str = server.url, sha256: str = DIGEST, **fields: Any) -> Path:
        home.add(name="it", model="vsfa", file="it.pt", url=url, sha256=sha256, source="here", **fields)
        return home.data / "it.pt"

    return offer


def left(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_pull_brings_the_file(server: Server, offered: Offer, run: Run) -> None:
    path = offered(size=len(CONTENT))
    result = run("pull", "it", "--no-progress")
    assert result.exception is None and result.stdout == f"{path}\n"
    assert path.read_bytes() == CONTENT and left(path) == ["it.pt"]
    assert run("path", "it").stdout == f"{path}\n"
    assert pull("it").path == path and len(server.asked) == 1  # it is here: nothing is asked
    pull("it", force=True)
    assert len(server.asked) == 2


def test_pull_refuses_another_file(offered: Offer) -> None:
    path = offered(sha256="0" * 64)
    with pytest.raises(WeightsError, match="expected 0000"):
        pull("it")
    assert left(path) == []


def test_pull_takes_up_a_connection_that_breaks(server: Server, offered: Offer) -> None:
    path = offered()
    server.cuts = [200_000, 200_000]
    assert pull("it").path == path and path.read_bytes() == CONTENT
    assert server.asked[0][1] is None and all(r for _, r in server.asked[1:]) and len(server.asked) == 3


def test_pull_goes_on_the_next_time(server: Server, offered: Offer) -> None:
    path = offered()
    server.cuts = [300_000, 0]
    with pytest.raises(WeightsError, match=r"broke after \d+ bytes; the same command goes on"):
        pull("it")
    have = path.with_name("it.pt.part").stat().st_size
    assert 0 < have <= 300_000 and not path.exists()
    pull("it")
    assert server.asked[-1][1] == f"bytes={have}-" and path.read_bytes() == CONTENT and left(path) == ["it.pt"]


@pytest.mark.parametrize("stale", [b"of another file" * 100, CONTENT + b"and more", CONTENT])
def test_pull_starts_anew_where_the_part_is_wrong(offered: Offer, stale: bytes) -> None:
    path = offered()
    path.with_name("it.pt.part").write_bytes(stale)
    pull("it")
    assert path.read_bytes() == CONTENT and left(path) == ["it.pt"]


def test_pull_from_a_server_without_ranges(server: Server, offered: Offer) -> None:
    path = offered()
    server.ranges = False
    path.with_name("it.pt.part").write_bytes(CONTENT[:1000])
    pull("it")
    assert path.read_bytes() == CONTENT


def test_pull_without_a_known_hash_keeps_the_one_it_saw(home: Any, offered: Offer) -> None:
    path = offered(sha256="")
    path.with_name("it.pt.part").write_bytes(b"cannot be told from the right half")
    pull("it")
    assert path.read_bytes() == CONTENT and path.with_name("it.pt.sha256").read_text().split() == [DIGEST, "it.pt"]
    path.write_bytes(b"altered")
    with pytest.raises(WeightsError, match="not the file of 'it'"):
        find("it")


def test_pull_says_what_the_server_says(server: Server, offered: Offer) -> None:
    offered(server.url.replace("file", "missing"))
    with pytest.raises(WeightsError, match="answers 404"):
        pull("it")


def test_pull_takes_no_more_than_it_expects(offered: Offer) -> None:
    path = offered(size=1000)
    with pytest.raises(WeightsError, match="more than the 1000 bytes"):
        pull("it")
    assert left(path) == []


def test_pull_without_a_network(home: Any, offered: Offer, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    offered("http://127.0.0.1:9/file.pt")  # the discard port: nobody listens
    with pytest.raises(WeightsError, match="no connection"):
        pull("it")
    result = run("pull", "--offline", "it")
    assert isinstance(result.exception, WeightsError) and "offline" in str(result.exception)
    monkeypatch.setenv("VQMETER_OFFLINE", "1")
    with pytest.raises(WeightsError, match="offline"):
        pull("it")


def test_pull_of_what_cannot_be_pulled(home: Any, offered: Offer) -> None:
    offered("file:///etc/hostname")
    with pytest.raises(WeightsError, match="not an address of the web"):
        pull("it")
    with pytest.raises(WeightsError, match="import it"):
        pull("rankiqa-ft-live")
    with pytest.raises(WeightsError, match="there are it"):
        pull("nothing")


def test_pull_goes_through_the_proxy(server: Server, offered: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = offered("http://weights.invalid/file.pt")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    pull("it")
    assert path.read_bytes() == CONTENT and server.asked == [("http://weights.invalid/file.pt", None)]


def test_pull_into_a_folder_that_cannot_be_written(home: Any, offered: Offer) -> None:
    offered()
    home.data.rmdir()
    home.data.write_text("a file in its place")
    with pytest.raises(OutputError, match="cannot be written"):
        pull("it")
