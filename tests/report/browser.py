"""A headless Chromium, spoken to through the pipe of its DevTools protocol: no driver, no port, no library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

SECONDS = 30


def find_browser() -> str | None:
    """Chromium or Chrome, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Browser:
    """One page of a browser that resolves no names and reaches this machine alone; a context manager.

    Attributes:
        complaints: what was printed on the console, errors and warnings of the browser, exceptions.
        requests: addresses of all that the page asked for, data: URIs aside.
    """

    def __init__(self, executable: str, profile: Path) -> None:
        # Chromium reads commands from descriptor 3 and answers on 4; others in the way of these two are moved up.
        theirs, self.commands = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in os.pipe())
        self.answers, ours = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in os.pipe())
        options = [
            "--headless=new",
            "--no-sandbox",  # a container's root has no other way
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        script = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, executable, *options],
            pass_fds=(theirs, ours),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        self.received, self.number, self.session = b"", 0, None
        self.loaded = False
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.session = None
        try:
            self.call("Browser.close")
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.commands)
            os.close(self.answers)

    def open(self, page: Path | str, width: int, scheme: str = "light") -> None:
        """Loads a file or an address into a window of this width, in the light or the dark scheme; forgets what was
        before.
        """
        self.complaints, self.requests, self.loaded = [], [], False
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        end = time.monotonic() + SECONDS
        while not self.loaded:
            self._receive(end)
        self.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")

    def evaluate(self, script: str) -> Any:
        """The value of an expression in JavaScript, of plain values; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> Any:
        """The value of an expression in JavaScript, once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"it is not so after {seconds} s: {script}"
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        """Presses what a selector finds, by the mouse."""
        x, y = self.place(selector)
        self.mouse((x, y))

    def place(self, selector: str, right: float = 0.5, down: float = 0.5) -> tuple[float, float]:
        """Where in the window an element is, scrolled to: its middle, or these parts of its width and height."""
        found = f"document.querySelector({json.dumps(selector)})"
        box = self.wait(
            f"(() => {{ const e = {found}; e?.scrollIntoView({{block: 'center'}}); "
            "const b = e?.getBoundingClientRect(); return b?.width && [b.x, b.y, b.width, b.height]; })()"
        )
        x, y, width, height = box
        return x + right * width, y + down * height

    def mouse(self, *places: tuple[float, float]) -> None:
        """Presses the mouse at the first of these places, moves it over the others, and lets go at the last."""
        for number, (x, y) in enumerate(places):
            at = {"x": x, "y": y, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type="mouseMoved", buttons=int(number > 0), **at)
            if number == 0:
                self.call("Input.dispatchMouseEvent", type="mousePressed", buttons=1, **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def upload(self, selector: str, path: Path) -> None:
        """Chooses a file in a field for files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path: Path) -> None:
        """Writes the whole page as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def print(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            answer = self._receive(end)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.answers], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            block = os.read(self.answers, 1 << 16)
            assert block, f"the browser ended with status {self.process.wait(SECONDS)}"
            self.received += block
        line, _, self.received = self.received.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(about))
        elif event == "Network.requestWillBeSent" and not about["request"]["url"].startswith("data:"):
            self.requests.append(about["request"]["url"])
