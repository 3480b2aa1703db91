// Opens a page of the benchmark as a file, and checks that it draws all its charts, in light and dark, wide and narrow, and asks nobody
// for anything. Usage: node benchpage.mjs CHROMIUM PAGE [PICTURE]. PICTURE is the path of a picture of what the page begins with.
import { strict as assert } from "node:assert";
import { pathToFileURL } from "node:url";
import { launch } from "./chromium.mjs";

const [chromium, file, picture] = process.argv.slice(2);
const wide = [1200, 900], narrow = [390, 844];
const margin = 32; // beside the picture
const address = pathToFileURL(file).href;
const browser = await launch(chromium);
try {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(`the console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`an error: ${error}`));
  page.on("request", (request) => {
    const url = request.url();
    if (url !== address && !url.startsWith("data:")) wrong.push(`a request: ${url}`);
  });
  let loaded = false;
  for (const scheme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    for (const [width, height] of scheme === "light" ? [wide, narrow] : [narrow, wide]) { // the first of dark is drawn for its colours alone
      const view = `${scheme}, ${width} wide`;
      await page.setViewport({ width, height, deviceScaleFactor: picture ? 2 : 1 });
      if (!loaded) await page.goto(address);
      loaded = true;
      assert.deepEqual(wrong, []);
      await page.waitForFunction(fitted, { timeout: 60_000 });
      const shown = await page.evaluate(look);
      assert(shown.drawn > 0, `${view}: the page has drawn no chart`);
      assert.equal(shown.canvases, shown.drawn, `${view}: charts that were drawn, of all canvases`);
      assert.deepEqual(shown.wrong, [], `${view}: the part of each bar that has its colour`);
      assert(shown.wide <= width, `${view}: the page is ${shown.wide} wide`);
      if (picture && scheme === "light" && width === 1200) {
        const { x, y, width, height } = await (await page.$("#found")).boundingBox();
        const clip = { x: x - margin, y, width: width + 2 * margin, height: height + 8 };
        // A capture beyond the window would change its size, and have charts drawn anew while the picture is taken.
        await page.setViewport({ width: wide[0], height: Math.ceil(y + clip.height), deviceScaleFactor: 2 });
        await page.waitForFunction(fitted);
        await page.screenshot({ path: picture, clip, captureBeyondViewport: false });
      }
    }
  }
  assert.deepEqual(wrong, []);
} finally {
  await browser.close();
  process.stdin.destroy(); // which would keep this process
}

// fitted runs in the page: have all charts the width that there is?
function fitted() {
  return Object.values(Chart.instances).every(({ canvas }) => canvas.clientWidth === canvas.parentNode.clientWidth);
}

// look runs in the page. A bar is wrong that has not the page's colour of its kind, or, if it is a floor's, is not hatched in it.
function look() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = getComputedStyle(document.documentElement);
  const wrong = [];
  for (const { id, title, bars } of data) {
    const chart = Chart.getChart(id);
    if (!chart) continue; // it is missed below
    const { width, height } = chart.canvas;
    const ratio = chart.currentDevicePixelRatio;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(chart.canvas, 0, 0);
    // coloured is the part of a bar that has its colour, and not that of what is drawn over it.
    const coloured = ({ x, y, base }, colour) => {
      const want = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
      const [left, top] = [base + 1, y - 3].map((v) => Math.round(v * ratio));
      const [wide, high] = [Math.max(x - base - 2, 1), 6].map((v) => Math.ceil(v * ratio));
      const { data: pixels } = copy.getImageData(left, top, wide, high);
      let same = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        if (pixels[i + 3] > 60 && want.every((v, n) => Math.abs(v - pixels[i + n]) < 6)) same++;
      }
      return same / (wide * high);
    };
    chart.getDatasetMeta(0).data.forEach((element, i) => {
      if (element.x - element.base < 8) return; // too short to tell from its whisker
      const { side, kind } = bars[i];
      const part = coloured(element, style.getPropertyValue(`--${kind}`).trim());
      if (kind === "floor" ? part < 0.1 || part > 0.9 : part < 0.5) wrong.push(`${title}: ${side}: ${part.toFixed(2)}`);
    });
  }
  const drawn = data.filter(({ id, bars }) => Chart.getChart(id)?.getDatasetMeta(0).data.length === bars.length).length;
  return { drawn, canvases: document.querySelectorAll("canvas").length, wrong, wide: document.documentElement.scrollWidth };
}
