// Opens a page of the benchmark as a file, and checks that it draws all its charts, in light and dark, wide and narrow, and asks nobody
// for anything. Usage: node benchpage.mjs CHROMIUM PAGE [PICTURE]. PICTURE is the path of a picture of what the page begins with.
import { strict as assert } from "node:assert";
import { pathToFileURL } from "node:url";
import { launch } from "./chromium.mjs";

const [chromium, file, picture] = process.argv.slice(2);
const margin = 32; // around the picture
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
    for (const [width, height] of [[1200, 900], [390, 844]]) {
      const view = `${scheme}, ${width} wide`;
      await page.setViewport({ width, height, deviceScaleFactor: picture ? 2 : 1 });
      if (!loaded) await page.goto(address);
      loaded = true;
      await page.waitForFunction(fitted, { timeout: 60_000 });
      const shown = await page.evaluate(look);
      assert(shown.drawn > 0, `${view}: the page has drawn no chart`);
      assert.equal(shown.canvases, shown.drawn, `${view}: charts that were drawn, of all canvases`);
      assert.deepEqual(shown.empty, [], `${view}: charts in which a bar is missing`);
      assert(shown.wide <= width, `${view}: the page is ${shown.wide} wide`);
      if (picture && scheme === "light" && width === 1200) {
        const { x, y, width, height } = await (await page.$("#found")).boundingBox();
        await page.screenshot({ path: picture, clip: { x: x - margin, y, width: width + 2 * margin, height: height + margin } });
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
  return [...document.querySelectorAll("canvas")].every((canvas) => canvas.clientWidth === canvas.parentNode.clientWidth);
}

// look runs in the page. A chart is empty if any of its bars has no colour in it.
function look() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const empty = data.filter(({ id, bars }) => {
    const chart = Chart.getChart(id);
    const { width, height } = chart.canvas;
    const ratio = chart.currentDevicePixelRatio;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(chart.canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, width, height).data;
    const drawn = ({ x, y, base }) => {
      for (let at = Math.floor(base * ratio); at <= x * ratio; at++) {
        if (pixels[4 * (Math.round(y * ratio) * width + at) + 3] > 0) return true;
      }
      return false;
    };
    const elements = chart.getDatasetMeta(0).data;
    return elements.length !== bars.length || !elements.every(drawn);
  }).map(({ title }) => title);
  return { drawn: data.length, canvases: document.querySelectorAll("canvas").length, empty, wide: document.documentElement.scrollWidth };
}
