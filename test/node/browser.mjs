// checks.mjs in a real browser, with the bundles that socket.io-client is published with.
// Usage: node browser.mjs CHROMIUM JSON. JSON is a list of runs, {"name", "page", "url", "mode", "options", "only"}: page is the
// address of a page, url that of the server, options are the client's. Output and exit status are those of interop.mjs, with the run's name before the check's.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const [chromium, json] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "belfry-interop-"));
// Whoever runs this ends its standard input to end it before its time. The exit kills the browser; one that is driven over a pipe ends
// also when this process is killed.
process.stdin.on("end", () => process.exit(1)).resume();
const browser = await puppeteer.launch({
  executablePath: chromium,
  userDataDir: profile,
  pipe: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
process.on("exit", () => rmSync(profile, { recursive: true, force: true, maxRetries: 10 })); // after puppeteer's, which kills the browser
let failed = 0;

// Each run has a session of its own: the browser opens six connections to a host in each, and polls need them.
async function make(run) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.on("pageerror", (e) => print({ name: "the page", ok: false, detail: String(e), ms: 0 }));
  function print(result) {
    if (!result.ok) failed++;
    console.log(JSON.stringify({ ...result, name: run.name + ": " + result.name }));
  }
  await page.exposeFunction("report", print);
  await page.goto(run.page);
  await page.evaluate(() => (document.cookie = "belfry=known; path=/"));
  await page.addScriptTag({ url: run.mode.endsWith("-msgpack") ? "/client/socket.io.msgpack.min.js" : "/client/socket.io.js" });
  await page.evaluate(async (run) => {
    const { run: runChecks } = await import("/checks.mjs");
    const { url, mode, options, only } = run;
    await runChecks({ io, url, mode, options, only, workers: 2, browser: true }, report);
  }, run);
  await context.close();
}

try {
  const runs = JSON.parse(json);
  const some = async () => {
    for (let run; (run = runs.shift()); ) await make(run);
  };
  await Promise.all([some(), some(), some()]); // a small machine has enough to do with three pages
} catch (e) {
  failed++;
  console.log(JSON.stringify({ name: "the browser", ok: false, detail: String(e), ms: 0 }));
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
