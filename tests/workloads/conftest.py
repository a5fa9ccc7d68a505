"""No data but what a test makes, an empty cache, and servers on this machine to download from."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bpfree.errors import DataError
from bpfree.workloads import data, files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """There is no other place, and the user cache is empty."""
    monkeypatch.setattr(files.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("BPFREE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "bpfree"


@pytest.fixture(scope="session")
def cifar_dir() -> Path:
    """The folder with the real CIFAR-10; skips where there is none."""
    for place in (os.environ.get("BPFREE_TEST_DATA"), os.environ.get("BPFREE_DATA")):
        if place and (Path(place) / "cifar-10-batches-bin").is_dir():
            return Path(place)
    pytest.skip("no cifar-10-batches-bin here: name the folder that holds it in BPFREE_TEST_DATA")


@pytest.fixture(scope="session")
def shakespeare_dir() -> Path:
    """The folder with the real tiny Shakespeare; skips where there is none."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    for place in (os.environ.get("BPFREE_TEST_DATA"), shared):
        if place and (Path(place) / "tinyshakespeare" / "input.txt").is_file():
            return Path(place)
    pytest.skip("no tinyshakespeare here: name the folder that holds it in BPFREE_TEST_DATA")


@pytest.fixture
def refusal() -> Callable[..., str]:
    """The one-line message with which a dataset is refused."""

    def load(name: str, data_dir: Path | None = None) -> str:
        with pytest.raises(DataError) as caught:
            data.load(name, data_dir)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return load


@dataclass
class Mirror:
    """A server on this machine. What it does with a path is in `answers`: a body, a status, or part of a body."""

    address: str = ""
    answers: dict[str, bytes | int] = field(default_factory=dict)
    cut: bool = False
    silent: threading.Event | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def serve() -> Iterator[Callable[..., Mirror]]:
    servers: list[tuple[ThreadingHTTPServer, threading.Thread, Mirror]] = []

    def start(**options: object) -> Mirror:
        mirror = Mirror(**options)  # type: ignore[arg-type]
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(mirror))
        mirror.address = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread, mirror))
        return mirror

    yield start
    for server, thread, mirror in servers:
        if mirror.silent is not None:
            mirror.silent.set()
        server.shutdown()
        server.server_close()
        thread.join()


def handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path[1:])
            if mirror.silent is not None:
                mirror.silent.wait(10)
                return
            answer = mirror.answers.get(self.path[1:], 404)
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if mirror.cut else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
