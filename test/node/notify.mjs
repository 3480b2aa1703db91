// The page of examples/notify in a real browser: two devices of a user on two nodes, of which the first is killed, and the second ends.
// Usage: node notify.mjs CHROMIUM FIRST SECOND TOKEN API-TOKEN [SCREENSHOT]. FIRST and SECOND are the nodes' addresses, TOKEN is the
// user's. It prints "kill" when the first node is to be killed and a third to be started, and "stop" when the second is to end.
import assert from "node:assert/strict";
import { launch } from "./chromium.mjs";

const [chromium, first, second, token, apiToken, screenshot] = process.argv.slice(2);
const browser = await launch(chromium);
const now = { polling: "mutation" }; // a page in the background draws no frames to wait for
const problems = [];

// A device is a page in a session of its own.
async function device(name, url, token) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(240_000);
  await page.setViewport({ width: 900, height: 560 });
  page.on("pageerror", (e) => problems.push(name + ": " + e));
  page.on("console", (m) => m.type() === "error" && !m.text().includes("ERR_CONNECTION_REFUSED") && problems.push(name + ": " + m.text()));
  await page.goto(url + "/#token=" + token);
  return {
    page,
    // at waits until the page is connected to a node.
    at: (node) => page.waitForFunction((node) => document.querySelector('#status[data-state="connected"]') && document.querySelector("#node").dataset.node === node, now, node),
    unread: (n) => page.waitForFunction((n) => document.querySelector("#count").textContent === String(n) && document.title.startsWith(n ? `(${n}) ` : "belfry"), now, n),
    toast: (title) => page.waitForFunction((title) => [...document.querySelectorAll(".toast b")].some((b) => b.textContent === title), now, title),
    titles: () => page.$$eval("#list li b", (all) => all.map((b) => b.textContent).sort()),
    read: (title) => page.evaluate((title) => [...document.querySelectorAll("#list li")].find((li) => li.querySelector("b").textContent === title).querySelector("button").click(), title),
  };
}

// notify posts a notification, and checks how many devices have it; or some, if a node is missing.
async function notify(node, path, title, devices, headers = {}) {
  const response = await fetch(`${node}/notify/${path}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${apiToken}`, ...headers },
    body: JSON.stringify({ title, text: `for ${path}` }),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  assert.ok(answer.devices === devices || (answer.missing && answer.devices < devices), `${devices} devices have ${title}: ${JSON.stringify(answer)}`);
  return answer;
}

// connections is how many a node says it has.
async function connections(node) {
  const metrics = await (await fetch(node + "/metrics")).text();
  return [...metrics.matchAll(/^belfry_connections\{.*\} (\d+)$/gm)].reduce((sum, m) => sum + Number(m[1]), 0);
}

try {
  const laptop = await device("laptop", first, token);
  const phone = await device("phone", second, token);
  await laptop.at(first);
  await phone.at(second);
  assert.equal(await laptop.page.evaluate(() => location.hash), "", "the token is in the address no more");

  // Both devices have what is sent at either node, once.
  await notify(second, "user/ann", "<b>mail</b> & more", 2);
  await notify(first, "group/staff", "lunch", 2, { "Idempotency-Key": "lunch" });
  await notify(first, "group/staff", "lunch", 2, { "Idempotency-Key": "lunch" });
  await notify(second, "group/staff", "lunch", 2, { "Idempotency-Key": "lunch" });
  await notify(first, "user/bob", "not for Ann", 0);
  await notify(second, "all", "for all", 2);
  for (const d of [laptop, phone]) {
    await d.toast("<b>mail</b> & more");
    await d.unread(3);
    assert.deepEqual(await d.titles(), ["<b>mail</b> & more", "for all", "lunch"]);
  }

  // What is read on one is read on the other, and on one that comes later.
  await laptop.read("lunch");
  await phone.unread(2);
  const tablet = await device("tablet", second, token);
  await tablet.at(second);
  await tablet.unread(2);
  await tablet.page.close();
  while ((await connections(second)) > 1) await new Promise((next) => setTimeout(next, 50)); // the page goes before its WebSocket
  if (screenshot) await phone.page.screenshot({ path: screenshot });

  // The first node dies. Its device comes to another node, and misses nothing.
  console.log("kill");
  await notify(second, "user/ann", "meanwhile", 2);
  await laptop.page.waitForFunction((first) => document.querySelector("#node").dataset.node !== first, now, first);
  await notify(second, "user/ann", "after the end", 2);
  await laptop.toast("after the end");
  for (const d of [laptop, phone]) await d.unread(4);
  await phone.page.click("#read-all");
  await laptop.unread(0);

  // The second node ends. The devices come to the third, which has started meanwhile and knows what was before.
  console.log("stop");
  await phone.page.waitForFunction((second) => document.querySelector('#status[data-state="connected"]') && document.querySelector("#node").dataset.node !== second, now, second);
  const third = await phone.page.$eval("#node", (n) => n.dataset.node);
  await laptop.at(third);
  await notify(third, "all", "the last", 2);
  for (const d of [laptop, phone]) {
    await d.toast("the last");
    await d.unread(1);
    assert.deepEqual(await d.titles(), ["<b>mail</b> & more", "after the end", "for all", "lunch", "meanwhile", "the last"]);
  }
  const late = await device("late", third, token);
  await late.at(third);
  await late.unread(1);

  // Without a token, or with a wrong one, a page says what to do.
  for (const [bad, words] of [["", "Open one of the links"], ["x.y.z", "not valid here"]]) {
    const stranger = await device("stranger", third, bad);
    await stranger.page.waitForFunction((words) => document.querySelector("#error").textContent.includes(words), now, words);
    assert.deepEqual(await stranger.titles(), []);
  }
  assert.deepEqual(problems, [], "the pages have no errors");
  console.log("ok");
} finally {
  await browser.close();
  process.stdin.destroy(); // which would keep this process
}
