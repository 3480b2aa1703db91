// checks.mjs in a real browser, with the bundles that socket.io-client is published with.
// Usage: node browser.mjs CHROMIUM JSON. JSON is a list of runs, {"name", "page", "url", "mode", "options", "only", "plan"}: plan is for the checks of recoverychecks.mjs, page is the
// address of a page, url that of the server, options are the client's. Output and exit status are those of interop.mjs, with the run's name before the check's.
import { launch } from "./chromium.mjs";

const [chromium, json] = process.argv.slice(2);
const browser = await launch(chromium);
const opened = await browser.pages(); // one, which the first takes
let failed = 0;

// Each page has a session of its own, and makes its runs one after the other: the browser opens six connections to a host in each, and
// polls need them.
async function make(address, runs) {
  const page = opened.shift() ?? (await (await browser.createBrowserContext()).newPage());
  let name = "";
  page.on("pageerror", (e) => print({ name: "the page", ok: false, detail: String(e), ms: 0 }));
  function print(result) {
    if (!result.ok) failed++;
    console.log(JSON.stringify({ ...result, name: name + ": " + result.name }));
  }
  await page.exposeFunction("report", print);
  await page.goto(address);
  await page.evaluate(() => (document.cookie = "belfry=known; path=/"));
  for (const run of runs) {
    name = run.name;
    await page.addScriptTag({ url: run.mode.endsWith("-msgpack") ? "/client/socket.io.msgpack.min.js" : "/client/socket.io.js" });
    await page.evaluate(async (run) => {
      const { url, mode, options, only, plan } = run;
      const { run: runChecks } = await import(plan ? "/recoverychecks.mjs" : "/checks.mjs");
      await runChecks({ io, url, mode, options, only, plan, workers: 2, browser: true }, report);
    }, run);
  }
}

try {
  const runs = JSON.parse(json);
  const pages = new Set(runs.map((run) => run.page));
  await Promise.all([...pages].map((page) => make(page, runs.filter((run) => run.page === page))));
} catch (e) {
  failed++;
  console.log(JSON.stringify({ name: "the browser", ok: false, detail: String(e), ms: 0 }));
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
