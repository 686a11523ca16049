"""The page in a real browser: filters, search, sorting, pages, one row, map, duplicates, thresholds; hostile text stays text."""

import json
import re
import threading
from urllib.parse import quote

import pytest
from chromium import BINARY, needs_chromium
from pictured import EVIL

from curate.view.explore.server import listen

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(explorer):
    """A server on a thread of its own, which ends with the tests."""
    server, listening, address = listen(explorer, 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield address
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that is open; it fails the test where the browser reports an error or a breach of the policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, errors = context.new_page(), []
    page.set_default_timeout(30_000)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".card")
    yield page
    assert not errors and page.title() == "pictured: explore"
    context.close()


def at(page, **state):
    page.goto(page.url.split("#")[0] + "#" + quote(json.dumps(state)))
    page.reload()


def count(page, words):
    page.wait_for_function("w => document.querySelector('.count')?.textContent.startsWith(w)", arg=words)


def test_filters_search_order_and_pages(page, explorer):
    assert "token" not in page.url
    count(page, "60 rows of 60")
    page.get_by_role("button", name="Next").click()
    page.get_by_text("page 2 of 3").wait_for()
    page.locator("#filters .value", has_text="image_side").click()
    n = explorer.run.recipe["rows"]["images"]["image_side"]
    count(page, f"{n} row")
    page.locator(".chips button").click()
    count(page, "60 rows")
    page.locator("#filters summary", has_text="caption_words").click()
    page.get_by_label("caption_words min").fill("9")
    page.get_by_label("caption_words min").press("Enter")
    rows = explorer.rows({"conditions": [{"column": "caption_words", "operator": "min", "value": 9}]})
    count(page, f"{rows['total']} rows")
    page.go_back()
    count(page, "60 rows")
    page.get_by_label("search", exact=True).fill("evil owned")
    page.get_by_role("button", name="Search").click()
    count(page, "3 rows")
    assert page.locator(".card .text").first.text_content() == EVIL


def test_one_row_with_its_story_and_neighbours(page):
    page.locator(".card", has=page.locator(".keep")).first.click()
    page.locator("dialog .steps", has_text="caption_words").wait_for()
    page.get_by_text("Nearest images").wait_for()
    page.wait_for_function("document.querySelector('dialog img.large').naturalWidth > 0")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("!document.querySelector('dialog [aria-label=\"previous row\"]').disabled")
    page.get_by_role("button", name="Find similar").click()
    count(page, "The nearest by")


def test_an_address_is_a_link_only_where_it_is_one_of_the_web(page):
    def hostile(route):
        made = route.fetch().json()
        made["rows"][0]["values"] |= {"url": "javascript:document.title='owned'", "<b onclick=x>": "<img src=x onerror=x>"}
        route.fulfill(json=made)

    page.route("**/api/rows*", hostile)
    page.reload()
    page.locator(".card").first.click()
    page.get_by_text("javascript:document.title").wait_for()
    assert page.locator("dialog a").count() == 0 and page.locator("dialog b, dialog td img").count() == 0
    page.keyboard.press("Escape")
    page.locator(".card").nth(1).click()
    assert page.locator("dialog a").first.get_attribute("rel") == "noopener noreferrer"


def test_map_and_duplicates(page):
    at(page, tab="map")
    page.wait_for_selector("canvas")
    page.get_by_text("all images with embeddings").wait_for()
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5)
    page.mouse.up()
    page.get_by_text("in the rectangle").wait_for()
    at(page, tab="duplicates")
    page.get_by_text("1 duplicate dropped").wait_for()
    assert page.locator(".group .card").count() == 2


def test_a_better_map_takes_the_place_of_the_first(page):
    def first(route):
        route.fulfill(json=route.fetch().json() | {"pending": True, "method": "PCA; t-SNE is being computed"})

    page.route("**/api/map*", first)
    at(page, tab="map")
    page.get_by_text("t-SNE is being computed").wait_for()
    page.unroute("**/api/map*")
    page.get_by_text("t-SNE: neighbours").wait_for()


def test_thresholds_say_who_leaves_and_the_option(page, explorer):
    at(page, tab="thresholds")
    value = page.get_by_label("value of where_caption_words.max")
    value.fill("6")
    value.press("Enter")
    page.locator(".apply code", has_text="--set where_caption_words.max=6").wait_for()
    n = explorer.move({"moves": [{"setting": "where_caption_words.max", "value": 6}]})["leave"]
    assert f"{n} leave" in page.locator(".apply").text_content() and page.locator(".strip .card").count() == min(n, 24)
    page.get_by_role("button", name=re.compile("Reset")).last.click()
    page.get_by_text("Move a slider").wait_for()


@pytest.mark.parametrize("tab", ["rows", "map", "duplicates", "thresholds"])
def test_a_phone_shows_it_without_scrolling_sideways(page, tab):
    page.set_viewport_size({"width": 390, "height": 844})
    at(page, tab=tab)
    page.wait_for_selector({"rows": ".card", "map": "canvas", "duplicates": ".group", "thresholds": ".chart svg"}[tab])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
