// The live page in headless Chromium: `node page.mjs SCENARIO`, with WSP_PAGE_URL and, where it
// steers, WSP_PAGE_TOKEN. tests/tests/system/browser.rs starts streams and consoles, runs it, and
// looks into the audit afterwards.
import assert from "node:assert/strict";
import axe from "axe-core";
import { chromium } from "playwright-core";

const [scenario, ...rest] = process.argv.slice(2);
const url = process.env.WSP_PAGE_URL;
const token = process.env.WSP_PAGE_TOKEN;
// Longer than anything takes on a slow machine.
const PATIENCE = 60_000;

const browser = await chromium.launch({
  executablePath: process.env.WSP_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});

/** A page whose errors fail the run. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (message) => {
    // A refused act is an answer with another status, which the browser writes down too.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) page.errors.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** Waits until what `read` gives is so. */
async function until(page, read, isSo, what) {
  const began = Date.now();
  for (;;) {
    const value = await read();
    if (isSo(value)) return value;
    assert.ok(Date.now() - began < PATIENCE, `${what}: ${value}; errors: ${page.errors}`);
    await page.waitForTimeout(50);
  }
}

const text = (page, id) => page.textContent(`#${id}`);
const state = (page, word) => until(page, () => text(page, "state"), (found) => found === word, `state ${word}`);
const points = (page) => page.evaluate(() => Number(document.getElementById("plot-rate").dataset.points || 0));

/** No serious finding of axe-core. */
async function accessible(page, where) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run());
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(told, [], where);
}

const scenarios = {
  async empty() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open({ colorScheme });
      await page.getByRole("heading", { name: "No stream runs here" }).waitFor();
      assert.match(await text(page, "empty"), /wsp-cli stream --profile/);
      await accessible(page, `empty, ${colorScheme}`);
      assert.deepEqual(page.errors, []);
    }
  },

  async "read-only"() {
    const page = await open();
    await state(page, "Running");
    assert.ok(await page.isVisible("#read-only"));
    assert.ok(!(await page.isVisible("#controls")));
    assert.deepEqual(page.errors, []);
  },

  async steer() {
    const page = await open();
    await state(page, "Running");
    await until(page, () => points(page), (count) => count >= 4, "points");
    const before = [await text(page, "event-time"), await points(page), await text(page, "note")];
    await until(page, () => text(page, "event-time"), (now) => now !== before[0], "event time moves");
    await until(page, () => points(page), (now) => now > before[1], "plots move");
    await until(page, () => text(page, "note"), (now) => now !== before[2], "counts move");
    assert.ok((await page.locator("#plot-rate canvas").count()) === 1);
    await accessible(page, "running, light");
    const dark = await open({ colorScheme: "dark", viewport: { width: 390, height: 844 } });
    await state(dark, "Running");
    await accessible(dark, "running, dark and narrow");
    const overflow = await dark.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the narrow page is ${overflow} px too wide`);
    await dark.close();

    const said = (pattern) => until(page, () => text(page, "said"), (found) => pattern.test(found), String(pattern));
    await page.fill("#token", "this-is-not-the-token");
    await page.click("#pause");
    await said(/Not done: the token/);
    assert.equal(await text(page, "state"), "Running");

    await page.fill("#token", token);
    await page.fill("#name", "Browser");
    // By the keyboard alone.
    await page.focus("#pause");
    await page.keyboard.press("Enter");
    await said(/^Paused/);
    await state(page, "Paused");
    assert.ok(await page.isDisabled("#pause"));
    assert.match(await text(page, "announce"), /Paused/);
    await page.fill("#steps", "7");
    await page.click("#step");
    await said(/Stepped 7/);
    await page.fill("#pace-value", "240");
    await page.click("#repace");
    await said(/240 times/);
    await until(page, () => text(page, "pace"), (pace) => pace.startsWith("240"), "pace");
    await page.fill("#pause-at", "2026-01-28T08:40:00Z");
    await page.click("#pause-at-go");
    await said(/pauses before/);
    await until(page, () => text(page, "note"), (note) => note.includes("08:40:00"), "what is to come");
    await page.click("#resume");
    await said(/^Resumed/);
    await state(page, "Running");
    await state(page, "Paused");
    const reached = await text(page, "event-time");
    assert.ok(reached < "2026-01-28 08:40:00", reached);
    await page.fill("#pause-at", "2026-01-28T08:00:00Z");
    await page.click("#pause-at-go");
    await said(/Not done: the stream has passed/);

    await page.click("#stop");
    await page.getByRole("dialog").waitFor();
    await accessible(page, "the confirmation");
    await page.click("#confirm-no");
    assert.equal(await text(page, "state"), "Paused");
    await page.click("#stop");
    await page.click("#confirm-yes");
    await until(page, () => text(page, "banner"), (banner) => banner.includes("Stopped as asked"), "the end");
    // The last picture stays, and nothing can be asked of it.
    // Answers may still have come after the page said that it is paused.
    const last = await text(page, "event-time");
    assert.ok(last >= reached && last < "2026-01-28 08:40:00", last);
    assert.ok(await page.isVisible("#plot-rate canvas"));
    assert.ok(await page.isDisabled("#resume"));
    assert.equal(await text(page, "state"), "Ended");
    await accessible(page, "ended");
    assert.deepEqual(page.errors, []);
  },

  async screenshots() {
    const [folder] = rest;
    for (const colorScheme of ["light", "dark"]) {
      for (const [name, width, height] of [["wide", 1200, 900], ["narrow", 390, 844]]) {
        const page = await open({ colorScheme, viewport: { width, height } });
        await state(page, "Running");
        await until(page, () => points(page), (count) => count >= 40, "points");
        if (await page.isVisible("#controls")) await page.fill("#name", "Ann");
        await page.screenshot({ path: `${folder}/console-${name}-${colorScheme}.png`, fullPage: true });
        assert.deepEqual(page.errors, []);
        await page.close();
      }
    }
  },
};

try {
  await scenarios[scenario]();
} finally {
  await browser.close();
}
