#!/usr/bin/python3
"""See paint.sh.

    paint.py fill DATABASE ACCOUNTS ROOMS      of a server that is stopped, in which one room is
    paint.py measure PORT NAME PASSWORD RUNS   loads the dashboard again and again, with the session of the first login

Times are from the begin of the navigation, in ms: until something is painted, until the heading is there, and until the
first figure of the dashboard is."""
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time

WATCH = """
window.seen = {};
const look = () => {
    const figure = [...document.querySelectorAll('.figure')].find((one) => /\\d/.test(one.innerText));
    if (document.querySelector('h1')) seen.heading ??= performance.now();
    if (figure) seen.figure ??= performance.now();
    else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def fill(path, accounts, rooms):
    with sqlite3.connect(path) as db:
        db.execute("WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   "INSERT OR IGNORE INTO account(jid, created_us, disabled) "
                   "SELECT 'user' || printf('%06d', i) || '@localhost', 0, 0 FROM n", (accounts - 1,))
        db.execute("WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   "INSERT OR IGNORE INTO room(id, jid, domain, name, listed, secret, config, subject, creator, "
                   "created_us) SELECT id + i, 'room' || printf('%06d', i) || '@conference.localhost', domain, name, "
                   "listed, secret, config, subject, creator, created_us FROM room, n "
                   "WHERE jid = 'hall@conference.localhost'", (rooms - 1,))
        print("accounts and rooms:", *(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                                       for table in ("account", "room")))


def wait_for(driver, text):
    deadline = time.monotonic() + 30
    while not driver.execute_script(f"return {text}"):
        if time.monotonic() > deadline:
            sys.exit(f"it did not come: {text}")
        time.sleep(0.05)


def measure(port, name, password, runs):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as folder:
        for argument in ("--headless=new", "--disable-gpu", "--no-sandbox", "--window-size=1280,800",
                         f"--user-data-dir={folder}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        try:
            url = f"http://localhost:{port}/admin/"
            driver.get(url)
            wait_for(driver, "document.querySelector('#name') !== null")
            for field, value in (("name", name), ("password", password)):
                driver.find_element("id", field).send_keys(value)
            driver.find_element("css selector", "[type=submit]").click()
            wait_for(driver, "document.querySelector('nav a') !== null")
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            found = {"paint": [], "heading": [], "figure": []}
            for _ in range(runs):
                driver.get("about:blank")
                driver.get(url)
                wait_for(driver, "window.seen && seen.figure !== undefined")
                paint = driver.execute_script(
                    "return performance.getEntriesByName('first-contentful-paint')[0].startTime")
                for key, value in (("paint", paint), *driver.execute_script("return seen").items()):
                    found[key].append(value)
        finally:
            driver.quit()
    for key, values in found.items():
        print(f"{key:8} median {statistics.median(values):.0f} ms, {min(values):.0f} to {max(values):.0f}")


if sys.argv[1] == "fill":
    fill(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    measure(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
