"""Opens a report in headless Chromium and checks that it does what it says.

usage: check_report.py ROSETTA RESULTS [SCREENSHOTS]

Needs Debian's chromium (or CHROMIUM), pip's playwright without its browsers, and AXE, the path of axe-core's axe.min.js
(`npm install axe-core@4.14.1`). Screenshots at 1280 and 390 pixels go to SCREENSHOTS, to be looked at.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

ROSETTA, RESULTS = sys.argv[1:3]
SCREENSHOTS = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
AXE = pathlib.Path(os.environ["AXE"]).read_text()
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MOST_BYTES = 1_500_000
MOST_SECONDS_TO_PAINT = 1.0
MOST_SECONDS_TO_ACT = 0.1


def rosetta(*arguments):
    command = [ROSETTA, "--results", RESULTS, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check(claim, is_true, found=""):
    if not is_true:
        sys.exit(f"failed: {claim} {found}")
    print(f"ok: {claim} {found}", flush=True)


def check_quick(claim, act):
    """An act of the script in the page is done and drawn in time; of three the quickest counts, for machines are shared."""
    script = f"""async () => {{
      const started = performance.now();
      ({act})();
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      return performance.now() - started;
    }}"""
    seconds = min(page.evaluate(script) for _ in range(3)) / 1e3
    check(claim, seconds < MOST_SECONDS_TO_ACT, f"({seconds * 1e3:.0f} ms)")


READ_TABLES = """(experiment) => [...document.querySelectorAll(`#${experiment} .scroll:not(.changes) > table`)].map((table) => {
  const keys = [...table.tHead.rows[0].cells].map((head) => head.dataset.key);
  return [...table.tBodies[0].rows].map((row) => Object.fromEntries([...row.cells].map((cell, column) => {
    const number = (name) => (cell.dataset[name] === undefined ? null : Number(cell.dataset[name]));
    const mark = cell.querySelector("a.mark");
    return [keys[column], {
      text: (cell.querySelector(".cell") ?? cell).textContent,
      value: number("value"),
      interval: number("low") === null ? null : [number("low"), number("high")],
      note: mark && document.querySelector(mark.getAttribute("href")).textContent,
    }];
  })));
})"""


def check_cells():
    """Every cell of `rosetta table --json` is in the page, and the page has no more rows in these tables."""
    compared = 0
    tables = json.loads(rosetta("table", "--all-machines", "--json"))
    for experiment in dict.fromkeys(table["experiment"] for table in tables):
        ours = page.evaluate(READ_TABLES, experiment)
        for place, theirs in enumerate(table for table in tables if table["experiment"] == experiment):
            check(f"{experiment}: as many rows", len(ours[place]) == len(theirs["rows"]), f"({len(theirs['rows'])})")
            for row, expected in zip(ours[place], theirs["rows"]):
                for key, cell in row.items():
                    wanted = expected[key]
                    if isinstance(wanted, str):
                        same = cell["text"] == wanted
                    elif wanted is None:
                        same = cell["text"] == "–" and cell["value"] is None
                    else:
                        same = cell["value"] == wanted and cell["interval"] == expected.get(f"{key}_interval")
                    same = same and (cell["note"] or "") == expected.get(f"{key}_note", "")
                    if not same:
                        sys.exit(f"failed: {experiment}, {key}: the page has {cell}, the table {wanted}")
                    compared += 1
    check("every cell is that of `rosetta table --json`", compared > 100, f"({compared} cells)")


def check_sorting():
    heads = page.locator("#cnn-table-0 thead th")
    time_at = page.evaluate("[...document.querySelectorAll('#cnn-table-0 thead th')].findIndex((th) => th.dataset.key === 'training_time_s')")
    values = """(column) => [...document.querySelectorAll('#cnn-table-0 tbody tr')].map((row) => row.cells[column].dataset.value)
        .filter((value) => value !== undefined).map(Number)"""
    button = heads.nth(time_at).locator("button")
    button.press("Enter")
    up = page.evaluate(values, time_at)
    button.click()
    down = page.evaluate(values, time_at)
    check("a key on a heading sorts", up == sorted(up) and len(up) > 5, f"({len(up)} numbers)")
    check("a second press turns it around", down == sorted(down, reverse=True) and down != up)
    check("the heading says so", heads.nth(time_at).get_attribute("aria-sort") == "descending")
    button = heads.nth(0).locator("button")
    button.click()
    names = page.locator("#cnn-table-0 tbody th .cell").all_text_contents()
    check("words are sorted too", names == sorted(names, key=str.lower), names[:3])
    check_quick("sorting is quick", f"() => document.querySelectorAll('#cnn-table-0 thead button')[{time_at}].click()")
    heads.nth(time_at).locator("button").click()


def shown_rows():
    return page.locator("#cnn-table-0 tbody tr:visible th .cell").all_text_contents()


def check_filters():
    before = shown_rows()
    page.locator("[data-filter=era]").focus()
    page.select_option("[data-filter=era]", "historic")
    historic = shown_rows()
    check("the era filters", "PyTorch 1.0" in historic and "PyTorch" not in historic, f"({len(historic)} of {len(before)})")
    bars = page.locator("#cnn .charts").first.locator("svg").first.locator("g.row:visible")
    check("bars are filtered with the rows", bars.count() == len(historic))
    told = page.locator("#shown").text_content()
    check("how many are left is said", "rows" in told, told)
    check_quick("filtering is quick", "() => { find.value = find.value ? '' : 'keras'; filter(); }")
    page.select_option("[data-filter=era]", "")
    page.fill("#find", "pytorch")
    check("a name filters", all("pytorch" in name.lower() for name in shown_rows()) and shown_rows())
    page.fill("#find", "")
    check("without filters all are back", shown_rows() == before)


def visible_code():
    return page.locator(".harness:visible").evaluate_all("(all) => [...new Set(all.map((one) => one.dataset.framework))]")


def check_reader():
    page.select_option("#pick-experiment", "rnn")
    page.select_option("[data-pick=First]", "keras")
    page.select_option("[data-pick=Second]", "chainer")
    check("two frameworks are picked", sorted(visible_code()) == ["chainer", "keras"], visible_code())
    pick = "document.querySelector('[data-pick=Second]')"
    check_quick("picking is quick", f"() => {{ {pick}.value = {pick}.value === 'jax' ? 'chainer' : 'jax'; {pick}.onchange(); }}")
    page.select_option("[data-pick=Second]", "chainer")
    boxes = [page.locator(f".reader:visible .harness[data-framework={name}]").nth(2).bounding_box() for name in ("keras", "chainer")]
    check("they stand beside each other", boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"])
    source = pathlib.Path(__file__).parent.parent / "harnesses/keras/rnn.py"
    code = page.locator(".reader:visible .harness[data-framework=keras] pre").all_text_contents()
    lines = [line for part in code for line in part.splitlines() if line.strip()]
    text = source.read_text()
    check("the code is that of the file", len(lines) > 40 and all(line.strip() in text for line in lines), f"({len(lines)} lines)")
    link = page.locator("#pair").get_attribute("href")
    check("the pair has a link", link == "#read/rnn/keras/chainer", link)
    other = context.new_page()
    other.goto(f"{address}#read/cnn/jax/burn")
    names = other.locator(".harness:visible").evaluate_all("(all) => [...new Set(all.map((one) => one.dataset.framework))]")
    check("a link opens its pair", sorted(names) == ["burn", "jax"], names)
    other.close()


def check_origins():
    row = page.locator("#cnn-table-0 tbody tr").first
    row.locator("button.how").press("Enter")
    opened = page.locator(".origin:popover-open")
    words = opened.text_content()
    check("a row says where it comes from and what repeats it", "rosetta run cnn -f " in words and "Lock (SHA-256)" in words)
    page.keyboard.press("Escape")
    check("Escape closes it", page.locator(".origin:popover-open").count() == 0)
    page.locator(".matrix td button").first.click()
    check("a number of the matrix shows its row", "Allowed" in page.locator(".origin:popover-open").text_content())
    page.keyboard.press("Escape")


def check_axe(width):
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)")
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    words = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in serious]
    check(f"axe has no serious finding at {width} pixels", not serious, "\n".join(words) or f"({len(found)} lesser ones)")


def check_without_script():
    plain = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = plain.new_page()
    page.goto(address)
    for what, selector in [("tables", "#cnn table"), ("charts", "#cnn .charts svg"), ("code", "#read details")]:
        check(f"without JavaScript {what} are there", page.locator(f"{selector}:visible").count() > 0)
    check("and no control that does nothing", page.locator(".script:visible").count() == 0)
    page.locator("#read summary").first.click()
    check("code can be opened", page.locator("#read pre:visible").count() > 10)
    plain.close()


folder = tempfile.TemporaryDirectory()
rosetta("report", "--all-machines", "--out", folder.name)
path = pathlib.Path(folder.name) / "index.html"
check("the folder has the page and the tables", {one.name for one in path.parent.iterdir()} == {"index.html", "tables.json", "tables.csv"})
size = path.stat().st_size
check(f"the page has at most {MOST_BYTES} bytes", size <= MOST_BYTES, f"({size})")
address = path.as_uri()

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    for width in (1280, 390):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        requests, faults = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        paint = page.evaluate("""new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime))
            .observe({type: 'paint', buffered: true}))""") / 1e3
        check(f"it is painted within {MOST_SECONDS_TO_PAINT} s", paint < MOST_SECONDS_TO_PAINT, f"({paint:.2f} s)")
        check(f"nothing is wider than {width} pixels", page.evaluate("document.documentElement.scrollWidth") <= width)
        check_cells()
        if SCREENSHOTS:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"report-{width}.png")
            page.screenshot(path=SCREENSHOTS / f"report-{width}-whole.png", full_page=True)
        check_axe(width)
        if width == 1280:
            check_sorting()
            check_filters()
            check_reader()
            check_origins()
            page.emulate_media(color_scheme="dark")
            check_axe("1280, dark,")
        check("nothing was asked of any network", set(requests) == {address}, set(requests))
        check("no error and no warning", not faults, faults)
        context.close()
    check_without_script()
    browser.close()
