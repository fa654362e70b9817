import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ncsn.data.download import fetch
from ncsn.errors import DataError

CONTENT = b"what is wanted"
MD5, SHA256 = (f"{name}:{hashlib.new(name, CONTENT).hexdigest()}" for name in ("md5", "sha256"))
WAY_OUT = "put it there by other means"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "file.gz").write_bytes(CONTENT)
    (folder / "page.gz").write_text("<html>please log in</html>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("known_hash", [MD5, SHA256])
def test_the_first_address_that_has_the_file_is_taken(server, tmp_path, known_hash):
    destination = tmp_path / "data" / "raw" / "file.gz"
    fetch([f"{server}/missing.gz", f"{server}/page.gz", f"{server}/file.gz"], destination, known_hash, WAY_OUT)
    assert destination.read_bytes() == CONTENT
    assert list(destination.parent.glob("[!.]*")) == [destination]


def test_what_another_process_has_downloaded_meanwhile_is_kept(tmp_path):
    destination = tmp_path / "file.gz"
    destination.write_bytes(b"theirs")
    fetch(["http://no-such-host.invalid/file.gz"], destination, MD5, WAY_OUT)
    assert destination.read_bytes() == b"theirs"


def test_a_failure_says_what_to_do_and_leaves_nothing(server, tmp_path):
    destination = tmp_path / "file.gz"
    urls = [f"{server}/missing.gz", f"{server}/page.gz", "http://no-such-host.invalid/file.gz"]
    with pytest.raises(DataError) as raised:
        fetch(urls, destination, MD5, WAY_OUT)
    message = str(raised.value)
    assert message.startswith(f"{destination}: missing, and could not be downloaded (")
    assert message.endswith(f"); {WAY_OUT}")
    assert "\n" not in message
    assert all(url in message for url in urls)
    assert "404" in message
    assert "MD5" in message
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["server"]


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match=r"root/file\.gz: missing.*(Not a directory|File exists)"):
        fetch([f"{server}/file.gz"], tmp_path / "root" / "file.gz", MD5, WAY_OUT)
