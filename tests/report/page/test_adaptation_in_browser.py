"""The section of adaptation in a real browser: its pictures are drawn, names are text, and a phone needs no scrolling sideways."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("playwright.sync_api")

from playwright.sync_api import sync_playwright

import nchl
from nchl.perturbations.suites import Suite
from nchl.report import page
from nchl.report.adaptation import adapt
from nchl.report.adaptation.written import keep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = '"><img src=x onerror="window.evil=1"><script>window.evil=1</script>'

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    nchl.run("CartPole-v1", out=folder, hidden=[6], population=20, generations=4)
    suite = Suite("own", EVIL, {EVIL: "lesion:weights=1@4", "noise": "sensor-noise=0.1@2..6"})
    study = adapt([folder], suite=suite, episodes=6)
    assert keep(study, study.kept()) == []
    return Path(page.write(folder, episodes=0, film=False, microscope=False)["report"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_section_of_adaptation(browser: Any, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    opened.wait_for_load_state("networkidle")
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    section = opened.locator("#adaptation")
    assert section.locator("svg[role=img]").count() == 2 * 2 + 1
    assert section.locator("tbody tr").count() == 2 * 3
    assert opened.evaluate("window.evil") is None
    assert EVIL in section.inner_text()
    boxes = [each.bounding_box() for each in section.locator("svg[role=img]").all()]
    assert all(box["width"] > 200 and box["height"] > 100 for box in boxes)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.locator('nav a[href="#adaptation"]').is_visible()
    context.close()
