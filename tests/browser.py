"""A headless Chromium for tests, driven over chromedriver's own protocol (WebDriver) on localhost."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars")  # fmt: skip


def missing() -> str | None:
    """Why no browser can be driven here; None where one can."""
    gone = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(gone)} not installed, no page is looked at in a browser" if gone else None


class Browser:
    """One window of Chromium, `width` by `height` CSS pixels, with a profile of its own; a context manager."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="vqmeter-chromium-", ignore_cleanup_errors=True)
        log = Path(self._profile.name) / "driver.log"
        with log.open("wb") as file:
            self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=file, stderr=subprocess.STDOUT)
        options: dict[str, Any] = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}/profile", "about:blank"],
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}  # fmt: skip
        self._url = f"http://127.0.0.1:{self._port(log)}/session"
        self._url += "/" + self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _port(self, log: Path) -> int:
        for _ in range(200):
            for line in log.read_text("utf-8", "replace").splitlines():
                if "started successfully on port" in line:
                    return int(line.rstrip(".").rpartition(" ")[2])
            time.sleep(0.05)
        raise RuntimeError(f"chromedriver did not start: {log.read_text('utf-8', 'replace')}")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        """Load a page; what the window did before is forgotten."""
        self._call("POST", "/url", {"url": "about:blank"})
        self.complaints(), self.requests()
        self._call("POST", "/url", {"url": page.as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, seconds: float = 5.0) -> Any:
        """What `script` returns as soon as that is something."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def keys(self, *keys: str) -> None:
        """Press keys one after another, wherever the focus is."""
        presses = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})

    def mouse(self, *steps: tuple[str, int, int]) -> None:
        """Steps of the mouse in the window: `("move", x, y)`, `("down", 0, 0)`, `("up", 0, 0)`."""
        kinds = {"move": "pointerMove", "down": "pointerDown", "up": "pointerUp"}
        actions = [{"type": kinds[what]} | ({"x": x, "y": y, "duration": 0} if what == "move" else {"button": 0})
                   for what, x, y in steps]  # fmt: skip
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def tool(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def prefer(self, scheme: str) -> None:
        """Let the system prefer `light` or `dark`."""
        self.tool("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def be_phone(self, width: int, height: int) -> None:
        """Behave as a phone of this many CSS pixels, or as before where `width` is 0."""
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if width else 0,
                  mobile=bool(width))  # fmt: skip

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot; of the whole page, where that is asked."""
        found = self.tool("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(found))

    def complaints(self) -> list[str]:
        """What the page wrote to its console since this was last asked."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Every address the page asked for since this was last asked."""
        entries = (json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", {"type": "performance"}))
        return [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
            self._profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
