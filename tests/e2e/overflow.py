"""Records how far a page ever overflowed its window sideways, from its first frame on.

An overflow that a later swap hides again is one too. Every change of the page is measured in the
frame in which it is painted. A screenshot resizes the page, so the recorder pauses meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, Page

_RECORDER = """
(() => {
  const record = { pixels: 0, elements: [], isPaused: false };
  window.sidewaysOverflow = record;
  let isScheduled = false;
  function measure() {
    isScheduled = false;
    const root = document.documentElement;
    const pixels = root.scrollWidth - innerWidth;
    if (record.isPaused || pixels <= record.pixels) return;
    const wide = [...document.querySelectorAll("body *")].filter(
      (element) => element.getBoundingClientRect().right > innerWidth,
    );
    record.pixels = pixels;
    record.elements = wide.slice(-3).map((element) => element.outerHTML.slice(0, 200));
  }
  function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(measure);
  }
  const changes = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(schedule).observe(document, changes);
  for (const event of ["load", "resize", "toggle", "input", "transitionend", "animationend"]) {
    addEventListener(event, schedule, true);
  }
})();
"""


_NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"


def record_overflow(context: BrowserContext) -> None:
    """Install the recorder in every page that the context opens."""
    context.add_init_script(_RECORDER)


@contextmanager
def paused(page: Page) -> Iterator[None]:
    """Do not record what a screenshot does to the page."""
    page.evaluate("window.sidewaysOverflow.isPaused = true")
    yield
    page.evaluate(_NEXT_FRAME)
    page.evaluate("window.sidewaysOverflow.isPaused = false")


def assert_no_overflow(page: Page, name: str) -> None:
    """Fail if this document was ever wider than its window."""
    page.evaluate(_NEXT_FRAME)
    overflow = page.evaluate("window.sidewaysOverflow")
    assert overflow["pixels"] <= 0, f"{name} was {overflow['pixels']} px too wide: {overflow}"
