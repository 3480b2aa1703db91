// The chat's page in a real browser, on the nodes of a cluster, of which some are killed.
// Usage: node chat.mjs CHROMIUM URL URL URL [SCREENSHOT]
import assert from "node:assert/strict";
import { launch } from "./chromium.mjs";

const [chromium, ...rest] = process.argv.slice(2);
const urls = rest.slice(0, 3);
const screenshot = rest[3];
const [one, two, three] = urls.map((url) => new URL(url).host);
const browser = await launch(chromium);
const t0 = Date.now();
const step = (...what) => console.log(((Date.now() - t0) / 1000).toFixed(1), ...what);
const problems = [];
const asked = [];
let dying = false; // while nodes die, pages may fail to connect

// A person at a page of their own: names and rooms are kept by the browser's session.
async function person(url, name) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(240_000);
  await page.setViewport({ width: 1000, height: 700 });
  page.on("pageerror", (e) => problems.push(name + ": " + e));
  page.on("console", (m) => m.type() === "error" && !dying && problems.push(name + ": " + m.text()));
  page.on("request", (r) => asked.push(r.url()));
  // when waits until a function is true in the page: a page in the background draws no frames.
  const when = (f, ...args) => page.waitForFunction(f, { polling: "mutation" }, ...args);
  const click = (selector) => page.$eval(selector, (e) => e.click());
  const write = (id, text) => page.$eval("#" + id, (e, text) => (e.value = text), text);
  await page.goto(url);
  await page.waitForSelector("#welcome[open]");
  await write("name", name);
  await click("#enter");
  await when(() => document.querySelector('#rooms [data-room="lobby"][data-joined="true"][aria-current]'));
  return {
    page,
    when,
    click,
    async say(text) {
      await write("text", text);
      await click("#send");
    },
    async join(room) {
      await write("room", room);
      await click("#join");
      await when((r) => document.querySelector("#room-title").textContent === "# " + r, room);
    },
    // The message, when it is there, with what the page says about it.
    async hears(from, text) {
      const find = (from, text) =>
        [...document.querySelectorAll("#messages li.said")].find(
          (li) => li.dataset.from === from && li.querySelector(".text").textContent === text,
        );
      const handle = await when(find, from, text);
      return handle.evaluate((li) => ({ ...li.dataset }));
    },
    texts: () => page.$$eval("#messages li.said .text", (all) => all.map((p) => p.textContent)),
    // sees waits until the page says that these are the people of the room, each with a node.
    sees: (people) =>
      when(
        (want) => {
          const of = (li) => li.dataset.name + " " + li.dataset.node;
          const got = [...document.querySelectorAll("#people li")].map(of).sort();
          return JSON.stringify(got) === want;
        },
        JSON.stringify(Object.entries(people).map((p) => p.join(" ")).sort()),
      ),
    // stands waits until the page says that a node, or the broker, stands in one of several ways.
    stands: (selector, ...ways) =>
      when(
        (selector, ways) => ways.includes(document.querySelector(selector)?.dataset.standing),
        selector,
        ways,
      ),
  };
}

const node = (name) => `#nodes li[data-node="${name}"]`;
const kill = (name) => `button[data-kill="${name}"]`;

try {
  const [ann, bob, dora] = await Promise.all([
    person(urls[0], "Ann"),
    person(urls[1], "Bob"),
    person(urls[1], "Dora"),
  ]);
  for (const p of [ann, bob, dora]) await p.sees({ Ann: one, Bob: two, Dora: two });
  for (const name of [one, two, three]) await ann.stands(node(name), "here");
  await ann.stands("#broker li", "connected");

  await ann.say("hello from the first node");
  const heard = await bob.hears("Ann", "hello from the first node");
  assert.equal(heard.node, one, "the page says which node the message came from");
  assert.equal(heard.own, "false");
  assert.equal((await ann.hears("Ann", "hello from the first node")).own, "true");
  await bob.say("<b>and back</b> & 'quoted'");
  await ann.hears("Bob", "<b>and back</b> & 'quoted'");

  step('a room of two');
  // A room of two, which the third does not hear. What comes after in the lobby shows that nothing
  // else will.
  await ann.join("a.b > *");
  await bob.join("a.b > *");
  await ann.sees({ Ann: one, Bob: two });
  await ann.say("between us");
  await bob.hears("Ann", "between us");
  await bob.click('#rooms button[data-room="lobby"]');
  await bob.say("for all");
  await dora.hears("Bob", "for all");
  assert.ok(!(await dora.texts()).includes("between us"));

  step('after leaving');
  // After leaving, the room is silent.
  await bob.click('#rooms button[data-room="a.b > *"]');
  await bob.click("#leave");
  await bob.when(() => document.querySelector("#room-title").textContent === "# lobby");
  await ann.say("alone");
  await ann.hears("Ann", "alone");
  await ann.click("#leave");
  await ann.say("done");
  await bob.hears("Ann", "done");
  assert.ok(!(await bob.texts()).includes("alone"));

  step('a node dies');
  // A node dies. Its clients go on elsewhere, and the pages say so.
  dying = true;
  const died = ann.stands(node(two), "suspect", "gone", "back");
  await ann.click(kill(two));
  await died;
  const elsewhere = (two) =>
    document.querySelector("#status").dataset.state === "connected" &&
    document.querySelector("#node").dataset.node !== two;
  for (const p of [bob, dora]) await p.when(elsewhere, two);
  const after = { Ann: one };
  for (const [name, p] of Object.entries({ Bob: bob, Dora: dora })) {
    after[name] = await p.page.$eval("#node", (n) => n.dataset.node);
  }
  step("after that death", after);
  for (const p of [ann, bob, dora]) await p.sees(after);
  await bob.say("my node has died, and I am still here");
  await ann.hears("Bob", "my node has died, and I am still here");
  if (screenshot) await ann.page.screenshot({ path: screenshot }); // the node stays dead for long
  step("its return");
  await ann.stands(node(two), "back", "here");

  step("NATS dies");
  // NATS dies, and returns. What is said meanwhile arrives.
  const lost = bob.stands("#broker li", "reconnecting");
  await bob.click(kill("NATS"));
  await lost;
  await bob.say("said without NATS");
  await bob.stands("#broker li", "connected");
  await ann.hears("Bob", "said without NATS");
  for (const p of [ann, bob, dora]) await p.sees(after);

  const own = (u) => urls.some((url) => u.startsWith(url)) || u.startsWith("data:");
  assert.deepEqual(asked.filter((u) => !own(u)), [], "nothing comes from elsewhere");
  assert.deepEqual(problems, [], "the page has no errors");
  console.log("ok");
} finally {
  await browser.close();
  process.stdin.destroy(); // which would keep this process
}
