// The documentation pages in a browser that reaches nothing but this server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, watch } from "./browser.js";
import { publish, saveTopic, server } from "./lib.js";

const SECONDS = 30_000;
let browser, page, seen;

before(async () => { browser = await launch(); });
after(() => browser.close());

/** Go to `path` in a page of the test's own. */
async function open(path) {
  page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  page.setDefaultTimeout(SECONDS);
  seen = watch(page);
  const reply = await page.goto(server + path);
  assert.equal(reply.status(), 200);
}

/** Where HYPRXA_SCREENSHOTS names a folder, a picture to look at. */
const picture = (name) => process.env.HYPRXA_SCREENSHOTS &&
  page.screenshot({ path: `${process.env.HYPRXA_SCREENSHOTS}/${name}.png` });

const quiet = () => assert.deepEqual(seen, { foreign: [], errors: [] });

/** Try an operation out in Swagger UI; the status and body that it shows. */
async function execute(method, path, fill = async () => {}) {
  const block = page.locator(`.opblock-${method}`).filter({
    has: page.locator(`.opblock-summary-path[data-path="${path}"]`) });
  await block.locator(".opblock-summary-control").click();
  await block.locator(".try-out__btn").click();
  await fill(block);
  await block.locator("button.execute").click();
  const answer = block.locator(".live-responses-table .response").first();
  return {
    status: (await answer.locator(".response-col_status").innerText()).trim().split(/\s/)[0],
    body: await answer.locator(".highlight-code, .microlight").first().innerText(),
  };
}

test("/docs lists the routes, executes one and shows its answer", async () => {
  await open("/docs");
  await page.locator(".opblock").first().waitFor();
  assert.ok(await page.locator(".opblock").count() >= 30);
  const { status, body } = await execute("get", "/users/whoami");
  assert.equal(status, "200");
  assert.match(body, /"username": "admin"/);
  await picture("docs");
  quiet();
});

test("/docs sends a body and a parameter as they were typed", async () => {
  await saveTopic("typed");
  await open("/docs");
  const sent = await execute("post", "/events/publish", (block) => block.locator("textarea").first()
    .fill(JSON.stringify({ topic: "typed", routing_key: "k", payload: { n: 7 } })));
  assert.equal(sent.status, "200");
  assert.match(sent.body, /"OK"/);
  const read = await execute("get", "/events/{topic}/last", async (block) => {
    await block.locator('tr[data-param-name="topic"] input').fill("typed");
    await block.locator('tr[data-param-name="routingKey"] input').fill("k");
  });
  assert.equal(read.status, "200");
  assert.match(read.body, /"n": 7/);
  quiet();
});

test("/docs executes an operation untouched, with what must be given only", async () => {
  await saveTopic("alarms"); // the example of the path
  await publish("alarms", 3, "some.key");
  await open("/docs");
  const { status, body } = await execute("get", "/events/{topic}/last");
  assert.equal(status, "200");
  assert.match(body, /"n": 3/);
  quiet();
});

test("/redoc renders the description", async () => {
  await open("/redoc");
  await page.locator("h1", { hasText: "hyprxa" }).first().waitFor();
  await page.getByText("/events/publish").first().waitFor({ state: "attached" });
  await picture("redoc");
  quiet();
});
