"""The demo page in a real browser: recognises what is drawn, without a network too, and takes no bad model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from securesystemslib.signer import CryptoSigner

from tests.edge.browser.page import opened
from tests.edge.browser.repository import onnx_bundle, tflite_bundle
from tests.edge.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ONNX = onnx_bundle()
NEWER = onnx_bundle(as_version=3)


def offers(site: Site, version: int, content: bytes, runtime: str = "onnxruntime") -> None:
    site.offer = site.repository.add(version, content, runtime)


def test_ten_digits_are_recognised_and_the_network_is_not_needed_after_the_first_visit(
    browser: Browser, site: Site
) -> None:
    offers(site, 2, ONNX)
    with opened(browser, site.url) as demo:
        demo.open()
        assert "Version 2 is installed" in demo.said
        assert demo.text("check").startswith("passed")
        assert demo.text("runtime").startswith("ONNX Runtime Web")
        assert [demo.draw(digit) for digit in range(5)] == list("01234")
        demo.page.locator("#offline.good").wait_for()
        demo.go_offline()
        demo.open()
        assert demo.text("network") == "Offline"
        assert "The server cannot be reached. Version 2 goes on." in demo.said
        assert [demo.draw(digit) for digit in range(5, 10)] == list("56789")
        demo.context.set_offline(False)
        assert "Version 2 is the one to have" in demo.update()
        assert demo.text("network") == "Online"


def test_litert_runs_its_bundles_and_works_offline_too(browser: Browser, site: Site) -> None:
    offers(site, 1, tflite_bundle(), "tflite")
    with opened(browser, site.url, talks=True) as demo:  # LiteRT tells of every part that it starts
        demo.open("?runtime=tflite")
        assert "Version 1 is installed" in demo.said
        assert demo.text("runtime").startswith("LiteRT.js")
        assert [demo.draw(digit) for digit in (0, 3)] == ["0", "3"]
        demo.page.locator("#offline.good").wait_for()
        demo.go_offline()
        demo.open("?runtime=tflite")
        assert [demo.draw(digit) for digit in (5, 6)] == ["5", "6"]


def test_a_model_that_litert_cannot_run_is_refused_by_name_and_reported(browser: Browser, site: Site) -> None:
    offers(site, 1, tflite_bundle(fixed=False), "tflite")
    with opened(browser, site.url, talks=True) as demo:  # LiteRT tells of every part that it starts
        demo.open("?runtime=tflite")
        assert "refused (unsupported): image has the shape [-1, 8, 8], and LiteRT.js runs fixed ones only" in demo.said
    assert [(each["kind"], each["passed"]) for each in site.reports] == [("self_check", False)]


def with_a_wrong_key(site: Site) -> None:
    site.repository.signers["targets"] = CryptoSigner.generate_ed25519()
    offers(site, 3, NEWER)


def with_an_expired_timestamp(site: Site) -> None:
    site.repository.lifetime["timestamp"] = timedelta(seconds=-1)
    offers(site, 3, NEWER)


def with_a_tampered_bundle(site: Site) -> None:
    offers(site, 3, NEWER)
    site.repository.files |= {
        path: content[:-100] + b"!" + content[-99:]
        for path, content in site.repository.files.items()
        if path.startswith("targets/digits/3/")
    }


def test_what_a_liar_sent_once_does_not_stay_in_the_browsers_cache(browser: Browser, site: Site) -> None:
    with_a_tampered_bundle(site)
    with opened(browser, site.url) as demo:
        demo.open()
        assert "refused (tampered)" in demo.said
        offers(site, 3, NEWER)
        assert "Version 3 is installed" in demo.update()


def with_an_old_timestamp(site: Site) -> None:
    site.repository.versions["timestamp"] = 0
    offers(site, 3, NEWER)


def with_a_model_that_answers_otherwise(site: Site) -> None:
    offers(site, 3, onnx_bundle(as_version=3, spoilt=True))


ATTACKS: list[tuple[Callable[[Site], None], str]] = [
    (with_a_wrong_key, "refused (signature): targets: expected signatures by 1 of its keys, got 0"),
    (with_an_expired_timestamp, "refused (expired): timestamp: it expired at"),
    (with_a_tampered_bundle, "refused (tampered): digits/3/digits-3-browser.zip: what came is not what was signed"),
    (with_an_old_timestamp, "refused (rollback): timestamp: expected version"),
    (with_a_model_that_answers_otherwise, "refused (self-check): version 3 answers otherwise here"),
]


def test_attacks_are_refused_with_their_reason_and_the_last_good_model_works(browser: Browser, site: Site) -> None:
    offers(site, 2, ONNX)
    site.repository.publish()
    good = site.repository
    with opened(browser, site.url) as demo:
        demo.open()
        for digit, (attack, words) in enumerate(ATTACKS):
            site.repository = good.copy(after=digit)
            attack(site)
            said = demo.update()
            assert words in said
            assert "Version 2 goes on." in said
            assert demo.draw(digit) == str(digit)
        demo.open()
        assert demo.text("version") == "digits 2 (fp32)"
        assert demo.draw(8) == "8"


def test_a_new_version_takes_over_at_once_and_one_goes_back_by_a_button(browser: Browser, site: Site) -> None:
    offers(site, 2, ONNX)
    with opened(browser, site.url) as demo:
        demo.open()
        offers(site, 3, NEWER)
        assert "Version 3 is installed" in demo.update()
        demo.page.locator("#back").click()
        demo.page.get_by_text("Back at version 2.").wait_for()
        assert demo.draw(6) == "6"
        assert "not tried again" in demo.update()
    told = [(each["version"], each["kind"], each.get("passed")) for each in site.reports]
    assert told == [
        (2, "installed", None),
        (2, "self_check", True),
        (3, "installed", None),
        (3, "self_check", True),
        (3, "failed", None),
    ]


def test_a_digit_is_drawn_by_keyboard(browser: Browser, site: Site) -> None:
    offers(site, 2, ONNX)
    with opened(browser, site.url) as demo:
        demo.open()
        demo.page.locator("#canvas").focus()
        press = demo.page.keyboard.press
        press("Space")
        for _ in range(16):
            press("ArrowDown")
        press("Space")
        assert demo.answer() == "1"
        press("Delete")
        demo.page.locator("#digit.empty").wait_for()


def test_a_finger_draws_too(browser: Browser, site: Site) -> None:
    offers(site, 2, ONNX)
    with opened(browser, site.url, has_touch=True, viewport={"width": 390, "height": 900}) as demo:
        demo.open()
        box = demo.page.locator("#canvas").bounding_box()
        assert box
        touch = demo.context.new_cdp_session(demo.page)
        line = [(box["x"] + box["width"] / 2, box["y"] + box["height"] * share / 10) for share in range(2, 9)]
        for kind, points in (
            ("touchStart", line[:1]),
            *(("touchMove", [point]) for point in line[1:]),
            ("touchEnd", []),
        ):
            told = [{"x": x, "y": y} for x, y in points]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": told})
        assert demo.answer() == "1"


def test_without_a_model_the_page_says_so(browser: Browser, site: Site) -> None:
    site.repository.publish()
    with opened(browser, site.url) as demo:
        demo.open()
        assert demo.said == "The server has no model for this device."


def test_the_page_fits_and_is_accessible_in_both_widths_and_schemes(browser: Browser, site: Site) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    offers(site, 2, ONNX)
    with opened(browser, site.url, bypass_csp=True) as demo:  # axe itself is a script of elsewhere
        demo.open()
        demo.draw(3)
        for width, scheme in ((1280, "light"), (390, "dark"), (390, "light"), (1280, "dark")):
            demo.page.set_viewport_size({"width": width, "height": 900})
            demo.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert demo.page.evaluate("() => document.documentElement.scrollWidth") <= width
            found = axe.Axe().run(demo.page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
