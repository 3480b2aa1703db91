// The chat's page in a real browser, on two nodes. Usage: node chat.mjs CHROMIUM URL URL [SCREENSHOT]
import assert from "node:assert/strict";
import { launch } from "./chromium.mjs";

const [chromium, first, second, screenshot] = process.argv.slice(2);
const browser = await launch(chromium);
const opened = await browser.pages(); // one, which the first takes
const now = { polling: "mutation" }; // a page in the background draws no frames to wait for
const problems = [];
const asked = [];

// write writes a text at once, as a paste does: the page is drawn after each key.
async function write(page, field, text) {
  await page.focus(field);
  await page.keyboard.sendCharacter(text);
}

// A person at a page of their own: names and rooms are kept by the browser's session.
async function person(url, name) {
  const page = opened.shift() ?? (await (await browser.createBrowserContext()).newPage());
  page.setDefaultTimeout(240_000);
  await page.setViewport({ width: 1000, height: 640 });
  page.on("pageerror", (e) => problems.push(name + ": " + e));
  page.on("console", (m) => m.type() === "error" && problems.push(name + ": " + m.text()));
  page.on("request", (r) => asked.push(r.url()));
  await page.goto(url);
  await page.waitForSelector("#welcome[open]");
  await write(page, "#name", name);
  await page.click("#enter");
  await page.waitForSelector('#status[data-state="connected"]');
  await page.waitForSelector('#rooms button[data-room="lobby"][data-joined="true"]');
  return {
    page,
    name,
    node: await page.$eval("#node", (n) => n.dataset.node),
    async say(text) {
      await write(page, "#text", text);
      await page.keyboard.press("Enter");
    },
    async join(room) {
      await write(page, "#room", room);
      await page.click("#join");
      await page.waitForFunction((r) => document.querySelector("#room-title").textContent === "# " + r, now, room);
    },
    // The message, when it is there, with what the page says about it.
    async hears(from, text) {
      const handle = await page.waitForFunction(
        (from, text) => [...document.querySelectorAll("#messages li.said")].find((li) => li.dataset.from === from && li.querySelector(".text").textContent === text),
        now,
        from,
        text,
      );
      return handle.evaluate((li) => ({ ...li.dataset }));
    },
    texts: () => page.$$eval("#messages li.said .text", (all) => all.map((p) => p.textContent)),
    people: () => page.$$eval("#people li", (all) => all.map((li) => li.dataset.name).sort()),
  };
}

try {
  const ann = await person(first, "Ann");
  const bob = await person(second, "Bob");
  assert.notEqual(ann.node, bob.node, "two nodes");
  assert.deepEqual(await ann.people(), ["Ann"], "who is on the first node");
  assert.deepEqual(await bob.people(), ["Bob"], "who is on the second node");

  await ann.say("hello from the first node");
  const heard = await bob.hears("Ann", "hello from the first node");
  assert.equal(heard.node, ann.node, "the page says which node the message came from");
  assert.equal(heard.own, "false");
  assert.equal((await ann.hears("Ann", "hello from the first node")).own, "true");

  await bob.say("<b>and back</b> & 'quoted'");
  await ann.hears("Bob", "<b>and back</b> & 'quoted'");

  const dora = await person(second, "Dora");
  await dora.page.waitForFunction(() => document.querySelectorAll("#people li").length === 2, now);
  assert.deepEqual(await dora.people(), ["Bob", "Dora"]);

  // A room of two, which the third does not hear. What comes after in the lobby shows that nothing else will.
  await ann.join("a.b > *");
  await bob.join("a.b > *");
  await ann.say("between us");
  await bob.hears("Ann", "between us");
  await bob.page.click('#rooms button[data-room="lobby"]');
  await bob.say("for all");
  await dora.hears("Bob", "for all");
  assert.deepEqual(await dora.texts(), ["for all"]);

  // After leaving, the room is silent.
  await bob.page.click('#rooms button[data-room="a.b > *"]');
  await bob.page.click("#leave");
  await bob.page.waitForFunction(() => document.querySelector("#room-title").textContent === "# lobby", now);
  await ann.say("alone");
  await ann.hears("Ann", "alone");
  await ann.page.click('#rooms button[data-room="lobby"]');
  await ann.say("done");
  await bob.hears("Ann", "done");
  assert.ok(!(await bob.texts()).includes("alone"));

  if (screenshot) await bob.page.screenshot({ path: screenshot });
  const outside = asked.filter((u) => !u.startsWith(first) && !u.startsWith(second) && !u.startsWith("data:"));
  assert.deepEqual(outside, [], "nothing comes from elsewhere");
  assert.deepEqual(problems, [], "the page has no errors");
  console.log("ok");
} finally {
  await browser.close();
  process.stdin.destroy(); // which would keep this process
}
