"""The report in a real browser: no requests, slider, playback, tooltips, escaped names, saved figures. Screenshots are written to
`build/screenshots`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("playwright.sync_api")

from matplotlib.image import imread
from playwright.sync_api import sync_playwright

import nchl
from nchl.report import page
from reference.robot import robot

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = Path(__file__).resolve().parents[3] / "build" / "screenshots"
EVIL = '"><img src=x onerror="window.evil=1"><script>window.evil=1</script>'

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]

SVG = "{http://www.w3.org/2000/svg}"
WAIT_MS = 120_000  # for slow machines; nothing here takes that long


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with episodes of some length, and with a name that looks like an element."""
    folder = tmp_path_factory.mktemp("browser") / "run <b>"
    nchl.run("CartPole-v1", out=folder, hidden=[6], population=20, generations=4, command=["nchl", "evolve", EVIL])
    config = json.loads((folder / "config.json").read_text())
    config["started"] = EVIL
    (folder / "config.json").write_text(json.dumps(config))
    return Path(page.write(folder, episodes=10, film=False)["report"])


class Opened:
    """A page opened from disk, with its console messages and requests."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, height: int = 900, scheme: str = "light", touch: bool = False) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch)
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#microscope[data-ready=yes]")

    def _hear(self, message: Any) -> None:
        if "willReadFrequently" not in message.text:  # that is about `pixels` below
            self.said.append(message.text)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: Any) -> None:
        self.context.close()

    def pixels(self, selector: str = ".layer .holder canvas", which: int = 0) -> list[int]:
        """The bytes of a canvas."""
        script = "(all, k) => { const c = all[k]; return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data); }"
        found: list[int] = self.page.eval_on_selector_all(selector, script, which)
        return found

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def until(self, condition: str | Callable[[], bool]) -> None:
        """Wait for a condition in the page or in Python; the page's policy forbids the polling that Playwright would do inside."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while not (self.ask(condition) if isinstance(condition, str) else condition()):
            assert time.monotonic() < deadline, f"{condition} has not become true"
            self.page.wait_for_timeout(20)

    def draw(self, frames: int = 2) -> None:
        """Wait until the browser has drawn so many frames, and with them handled scrolling and resizing."""
        script = "(n) => new Promise((done) => { const next = (k) => (k ? requestAnimationFrame(() => next(k - 1)) : done()); next(n); })"
        self.page.evaluate(script, frames)


def test_it_opens_from_disk_without_a_complaint_and_without_a_request(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        opened.page.wait_for_load_state("networkidle")
        opened.draw()
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [report.as_uri()]


def test_the_policy_forbids_what_the_page_never_does(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        assert opened.ask("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
        opened.ask("(() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s); })()")
        assert opened.ask("window.evil") is None


def test_names_do_not_become_elements(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        assert opened.page.locator("img").count() == 0
        assert opened.page.locator("header b").count() == 0
        assert opened.ask("window.evil") is None
        assert "run <b>" in opened.page.locator("header").inner_text()
        assert EVIL in opened.page.locator("#repeat").inner_text()


def test_the_slider_moves_the_pictures(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        slider = opened.page.locator("[data-part=slider]")
        before, frame = opened.pixels(), opened.pixels(".frame")
        text = opened.page.locator("[data-part=now]").inner_text()
        assert text.startswith("step 1 of")
        slider.focus()
        slider.press("End")
        opened.until("window.nchlMicroscope.current === window.nchlMicroscope.moments - 1")
        assert opened.pixels() != before
        opened.until(lambda: opened.pixels(".frame") != frame)  # it is decoded in the background
        assert opened.page.locator("[data-part=now]").inner_text() != text
        assert opened.page.locator(".cursor").first.evaluate("c => c.style.left") == "100%"


def test_play_plays_to_the_end_and_stops(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        opened.page.select_option("[data-part=speed]", "5")
        button = opened.page.locator("[data-part=play]")
        button.click()
        opened.until("window.nchlMicroscope.current > 2")
        assert "Pause" in button.inner_text()
        button.click()
        stopped = opened.ask("window.nchlMicroscope.current")
        opened.page.select_option("[data-part=speed]", "60")
        opened.draw(20)
        assert opened.ask("window.nchlMicroscope.current") == stopped
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 4)")
        button.click()
        opened.until("!window.nchlMicroscope.playing")
        assert opened.ask("window.nchlMicroscope.current === window.nchlMicroscope.moments - 1")


def test_hovering_a_weight_tells_both_neurons_rules(browser: Any, report: Path) -> None:
    net, task = nchl.load(report.parent)
    task.close()
    genome = net.layout.unpack(net.genome)
    with Opened(browser, report) as opened:
        canvas = opened.page.locator(".layer .holder canvas").first
        canvas.scroll_into_view_if_needed()
        # The first layer has 4 inputs and 6 hidden neurons: the hidden ones lie across.
        box = canvas.bounding_box()
        opened.page.mouse.move(box["x"] + box["width"] * 2.5 / 6, box["y"] + box["height"] * 1.5 / 4)
        tip = opened.page.locator("[data-part=tip]")
        tip.wait_for(state="visible")
        said = tip.inner_text().replace("\N{MINUS SIGN}", "-")
        assert "input 1 \N{RIGHTWARDS ARROW} hidden0 2" in said
        rows = [
            [cell.inner_text().replace("\N{MINUS SIGN}", "-") for cell in row.locator("th, td").all()] for row in tip.locator("tr").all()
        ]
        told = {row[0]: row[1:] for row in rows}
        for k, name in enumerate(("A", "C", "D", "eta")):
            np.testing.assert_allclose(float(told[name][0]), float(genome["input"][1, k]), rtol=0.01)
        for k, name in enumerate(("A", "B", "C", "D", "eta")):
            np.testing.assert_allclose(float(told[name][1]), float(genome["hidden0"][2, k]), rtol=0.01)
        assert not told["B"][0][0].isdigit()
        opened.page.mouse.move(2, 2)
        tip.wait_for(state="hidden")


def test_arrow_keys_look_at_single_weights(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        canvas = opened.page.locator(".layer .holder canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.focus()
        opened.draw()  # the scroll event, which deselects weights
        keyboard = opened.page.keyboard
        keyboard.press("ArrowRight")
        tip = opened.page.locator("[data-part=tip]")
        assert "input 0 \N{RIGHTWARDS ARROW} hidden0 0" in tip.inner_text()
        keyboard.press("ArrowRight")
        keyboard.press("ArrowDown")
        assert "input 1 \N{RIGHTWARDS ARROW} hidden0 1" in tip.inner_text()
        keyboard.press("Escape")
        assert tip.is_hidden()


def test_a_tap_does_what_hovering_does(browser: Any, report: Path) -> None:
    with Opened(browser, report, 390, 844, touch=True) as opened:
        canvas = opened.page.locator(".layer .holder canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.tap()
        tip = opened.page.locator("[data-part=tip]")
        tip.wait_for(state="visible")
        box = tip.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_a_click_on_a_curve_goes_there(browser: Any, report: Path) -> None:
    with Opened(browser, report) as opened:
        opened.page.locator(".plot").first.click(position={"x": 200, "y": 20})
        assert opened.ask("window.nchlMicroscope.current") > 0


def test_curves_have_a_line_where_a_perturbation_comes(browser: Any, report: Path, tmp_path: Path) -> None:
    with Opened(browser, report) as opened:
        assert not opened.page.locator(".moment").first.is_visible()
        figure = opened.page.locator("[data-part=side] .chart").first
        without = saved(opened, figure, "SVG", tmp_path).read_text().count('<rect x="')
    path = Path(page.write(report.parent, tmp_path / "perturbed.html", episodes=0, film=False, perturb="lesion:weights=1@4")["report"])
    with Opened(browser, path) as opened:
        steps = int(opened.page.locator("[data-part=now]").inner_text().rpartition(" ")[2])
        plot, line = (opened.page.locator(f"[data-part=side] .{name}").first.bounding_box() for name in ("plot", "moment"))
        assert line["x"] + line["width"] / 2 == pytest.approx(plot["x"] + plot["width"] * 4 / (steps - 1), abs=2)
        figure = opened.page.locator("[data-part=side] .chart").first
        assert saved(opened, figure, "SVG", tmp_path).read_text().count('<rect x="') == 1 + without, "the line too"
        assert opened.said == []


def saved(opened: Opened, figure: Any, kind: str, folder: Path) -> Path:
    """The file that a figure's button gives."""
    with opened.page.expect_download() as waiting:
        figure.locator(".save button", has_text=kind).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_pictures_of_the_report_can_be_saved(browser: Any, report: Path, tmp_path: Path) -> None:
    with Opened(browser, report) as opened:
        for section, name in (("#learning", "learning"), ("#evaluation", "evaluation"), ("#genome", "genome-A")):
            figure = opened.page.locator(f"{section} figure").first
            path = saved(opened, figure, "SVG", tmp_path)
            assert path.name == f"{name}.svg"
            text = path.read_text()
            assert ElementTree.fromstring(text).findall(f".//{SVG}path")
            assert "var(" not in text
            assert "currentColor" not in text
            picture = imread(saved(opened, figure, "PNG", tmp_path))
            assert picture.shape[1] > 500
            assert np.ptp(picture[..., :3]) > 0.5
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def test_pictures_of_the_microscope_can_be_saved(browser: Any, report: Path, tmp_path: Path) -> None:
    with Opened(browser, report) as opened:
        opened.ask("window.nchlMicroscope.show(3)")
        layer = opened.page.locator("figure.layer").first
        path = saved(opened, layer, "SVG", tmp_path)
        assert path.name == "weights-input-to-hidden0-step-4.svg"
        root = ElementTree.fromstring(path.read_text())
        assert len(root.findall(f".//{SVG}image")) == 3  # the weights, and the activations along two sides
        words = [text.text for text in root.findall(f".//{SVG}text")]
        assert {"input", "hidden0"} <= set(words)
        assert not {"SVG", "PNG"} & set(words)
        first = imread(saved(opened, layer, "PNG", tmp_path))
        opened.ask("window.nchlMicroscope.show(4)")
        second = imread(saved(opened, layer, "PNG", tmp_path))
        assert first.shape == second.shape
        assert (first != second).any()

        chart = opened.page.locator("[data-part=terms] figure.chart").first
        root = ElementTree.fromstring(saved(opened, chart, "SVG", tmp_path).read_text())
        assert len(root.findall(f".//{SVG}path")) == len("ABCD")
        assert not root.findall(f".//{SVG}image")
        picture = imread(saved(opened, chart, "PNG", tmp_path))
        assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 4
        assert saved(opened, opened.page.locator("figure", has=opened.page.locator(".frame")), "PNG", tmp_path).name == "world-step-5.png"
        assert opened.said == []


def test_a_rule_of_ones_own_and_a_world_without_pictures(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.py").write_text(
        "def decaying(pre, post, weight, A_pre, A_post, decay_post):\n    return A_pre * A_post * pre * post - decay_post * weight\n"
    )
    with robot(tmp_path, metadata="", init="", render="") as task:
        nchl.run(task, out=tmp_path / "run", rule=f"{tmp_path / 'own.py'}:decaying", hidden=[3], population=4, generations=1)
        path = Path(page.write(tmp_path / "run", episodes=0, film=False)["report"])
    with Opened(browser, path) as opened:
        assert opened.page.locator(".frame").is_hidden()
        legend = opened.page.locator("[data-part=terms] .legend").first.inner_text()
        assert "A" in legend
        assert "decay" in legend
        before = opened.pixels()
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 1)")
        assert opened.pixels() != before
        assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("phone", 390, 844), ("desktop", 1280, 900)])
def test_it_fits_the_screen(name: str, width: int, height: int, scheme: str, browser: Any, report: Path) -> None:
    with Opened(browser, report, width, height, scheme) as opened:
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments >> 1)")
        opened.draw()
        assert opened.ask("document.documentElement.scrollWidth") <= width
        ground = opened.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (ground < 60) == (scheme == "dark")
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        opened.page.screenshot(path=SCREENSHOTS / f"report-{name}-{scheme}.png", full_page=True)


def test_on_paper_it_is_light_and_without_controls(browser: Any, report: Path) -> None:
    with Opened(browser, report, scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        assert opened.page.locator("[data-part=play]").is_hidden()
        assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(opened.page.pdf()) > 10_000


@pytest.mark.parametrize("network", ["hl", "wnchl", "static"])
def test_every_network_can_be_looked_at(network: str, browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / network
    nchl.run("CartPole-v1", out=folder, network=network, hidden=[5], population=8, generations=2)
    path = Path(page.write(folder, episodes=0, film=False)["report"])
    with Opened(browser, path) as opened:
        before = opened.pixels()
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 1)")
        assert (opened.pixels() == before) == (network == "static")
        canvas = opened.page.locator(".layer .holder canvas").first
        canvas.focus()
        canvas.press("ArrowRight")
        said = opened.page.locator("[data-part=tip]").inner_text()
        assert {"hl": "eta of this synapse", "wnchl": "eta", "static": "no rule changes it"}[network] in said
        assert opened.page.locator("[data-part=more-box]").is_visible() == (network == "wnchl")
        assert opened.page.locator("[data-part=terms-box]").is_visible() == (network != "static")
        assert opened.said == []


BCM = """
def bcm(pre, post, theta_post_trace, e_trace, eta_post, tau_post):
    e = 0.5 * e_trace + pre * post * (post - theta_post_trace)
    return eta_post * e, theta_post_trace + 0.1 * tau_post * (post * post - theta_post_trace), e
"""


def test_a_recurrent_network_with_averages_and_a_trace(browser: Any, tmp_path: Path) -> None:
    options = {"recurrent": True, "average": "ema:0.3", "trace": 0.8, "modulate": "advantage:0.1", "every": 2}
    nchl.run("CartPole-v1", out=tmp_path / "run", hidden=[5], population=20, generations=3, **options)
    path = Path(page.write(tmp_path / "run", episodes=0, film=False)["report"])
    with Opened(browser, path) as opened:
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 1)")
        last = opened.ask("window.nchlMicroscope.current")
        captions = opened.page.locator("[data-part=layers] figcaption b").all_inner_texts()
        assert captions == ["input → hidden0", "hidden0 → hidden0 (delay 1)", "hidden0 → output"]
        said = opened.page.locator("#microscope").inner_text()
        for words in ("ema:0.3", "decays by 0.8", "advantage:0.1", "every 2 steps", "hidden0, step before"):
            assert words in said
        titles = opened.page.locator("[data-part=side] figcaption").all_inner_texts()
        assert "Modulation m(t): advantage:0.1" in titles
        assert "Trace norm (Frobenius)" in titles
        assert opened.page.locator("[data-part=held] figure").count() == 3  # an average for each group

        # The trace in place of the weights, and back.
        weights = opened.pixels(which=1)
        opened.page.select_option("[data-part=what]", "eligibility trace E")
        assert opened.pixels(which=1) != weights
        assert "eligibility trace E" in opened.page.locator("[data-part=layers] figcaption").nth(1).inner_text()
        name = saved(opened, opened.page.locator("figure.layer").nth(1), "SVG", tmp_path).name
        assert name == f"weights-hidden0-to-hidden0-delay-1-eligibility-trace-E-step-{last + 1}.svg"
        opened.page.select_option("[data-part=what]", "")
        assert opened.pixels(which=1) == weights

        # Along the recurrent matrix lie the activations of the step before, above, and those of this step, at the left.
        above, left = (opened.pixels(f".layer:nth-of-type(2) .strip.{side} canvas") for side in ("top", "left"))
        assert above != left
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 2)")
        assert opened.pixels(".layer:nth-of-type(2) .strip.left canvas") == above

        canvas = opened.page.locator(".layer .holder canvas").nth(1)
        canvas.focus()
        canvas.press("ArrowRight")
        tip = opened.page.locator("[data-part=tip]").inner_text()
        for words in ("hidden0 0 → hidden0 0", "eligibility trace E", "(step before)", "input of the rule"):
            assert words in tip

        section = opened.page.locator("#dynamics")
        assert section.locator("figure > svg").count() == 2
        root = ElementTree.fromstring(saved(opened, section.locator("figure").first, "SVG", tmp_path).read_text())
        assert root.findall(f".//{SVG}path")
        assert saved(opened, section.locator("figure").nth(1), "PNG", tmp_path).name == "dynamics-change-per-step.png"
        assert opened.said == []
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        opened.page.screenshot(path=SCREENSHOTS / "report-recurrent.png", full_page=True)


def test_the_states_of_a_rule_of_ones_own(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(BCM)
    nchl.run("CartPole-v1", out=tmp_path / "run", rule=f"{tmp_path / 'own.py'}:bcm", hidden=[3], population=8, generations=2)
    path = Path(page.write(tmp_path / "run", episodes=0, film=False)["report"])
    with Opened(browser, path) as opened:
        opened.ask("window.nchlMicroscope.show(window.nchlMicroscope.moments - 1)")
        assert opened.page.locator("[data-part=what] option").all_inner_texts() == ["weights", "e_trace"]
        captions = opened.page.locator("[data-part=held] figcaption").all_inner_texts()
        assert [caption.split(")")[0] for caption in captions] == [
            "hidden0 theta_post_trace (input → hidden0",
            "output theta_post_trace (hidden0 → output",
        ]
        assert opened.page.locator("[data-part=terms-box]").is_hidden()
        assert "The rule bcm uses states of its own" in opened.page.locator("[data-part=changing-box]").inner_text()
        canvas = opened.page.locator(".layer .holder canvas").first
        canvas.focus()
        canvas.press("ArrowRight")
        tip = opened.page.locator("[data-part=tip]").inner_text()
        assert "e_trace" in tip
        assert "theta_post_trace" in tip
        assert opened.said == []
