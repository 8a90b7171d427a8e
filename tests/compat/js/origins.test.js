// A browser's pages of other origins: `localhost` on any port is allowed by default, no other is.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { emptyPages, launch } from "./browser.js";
import { Relay, publish, saveTopic, saveUnitop, server, until } from "./lib.js";

let browser, pages, allowed, refused;

before(async () => {
  browser = await launch();
  pages = await emptyPages();
  allowed = await browser.newPage();
  await allowed.goto(pages.origin("localhost"));
  refused = await browser.newPage();
  await refused.goto(pages.origin("127.0.0.1"));
});

after(async () => {
  await browser.close();
  pages.stop();
});

/** Runs in a page: `n` messages of the stream at `url`, after publishing through `fetch`. */
const readEvents = async ([url, n, publishTo, body]) => {
  const source = new EventSource(url, { withCredentials: true });
  const got = [];
  await new Promise((done, fail) => {
    source.onerror = () => fail(new Error(`readyState ${source.readyState}`));
    source.onmessage = (event) => {
      got.push(JSON.parse(event.data));
      if (got.length === n) done();
    };
    source.onopen = async () => {
      for (let i = 0; publishTo && i < n; i++) {
        const reply = await fetch(publishTo, {
          method: "POST", credentials: "include",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ ...body, payload: { n: i } }),
        });
        if (!reply.ok || !reply.headers.get("X-Request-ID")) fail(new Error(reply.status));
      }
    };
  });
  source.close();
  return got;
};

test("a page of an allowed origin publishes and reads an EventSource of events", async () => {
  await saveTopic("shown");
  const events = await allowed.evaluate(readEvents, [`${server}/events/shown/stream`, 5,
    `${server}/events/publish`, { topic: "shown", routing_key: "k" }]);
  assert.deepEqual(events.map((e) => e.payload.n), [0, 1, 2, 3, 4]);
});

test("a page of an allowed origin reads an EventSource of samples", async () => {
  await saveUnitop("shown");
  const messages = await allowed.evaluate(readEvents, [`${server}/timeseries/shown/stream`, 4]);
  assert.equal(messages[0].subscription.source, "host");
});

test("a page of another origin is refused an EventSource", async () => {
  await saveTopic("hidden");
  const state = await refused.evaluate((url) => new Promise((done) => {
    const source = new EventSource(url);
    source.onerror = () => done(source.readyState);
    source.onopen = () => done("open");
  }), `${server}/events/hidden/stream`);
  assert.equal(state, 2); // closed, for good
});

test("a page whose EventSource is cut before its first message loses nothing", async () => {
  await saveTopic("early");
  const relay = await Relay.start();
  try {
    await allowed.evaluate((url) => new Promise((done) => {
      window.early = { got: [], source: new EventSource(url) };
      window.early.source.onmessage = (e) => window.early.got.push(JSON.parse(e.data).payload.n);
      window.early.source.onopen = done;
    }), `${relay.url}/events/early/stream`);
    relay.cut();
    await until(() => allowed.evaluate(() => window.early.source.readyState === 0), "the break");
    for (let n = 0; n < 3; n++) await publish("early", n);
    await until(() => allowed.evaluate(() => window.early.got.length >= 3), "what it missed");
    assert.deepEqual(await allowed.evaluate(() => window.early.got), [0, 1, 2]);
    await allowed.evaluate(() => window.early.source.close());
  } finally {
    relay.stop();
  }
});

/** Runs in a page: up to `n` messages of the WebSocket at `url`, and how it ended. */
const readSocket = ([url, n]) => new Promise((done) => {
  const socket = new WebSocket(url);
  const got = [];
  let opened = false;
  socket.onopen = () => { opened = true; };
  socket.onmessage = (message) => {
    got.push(JSON.parse(message.data));
    if (got.length === n) socket.close();
  };
  socket.onclose = (close) => done({ opened, got, code: close.code });
});

const sockets = server.replace("http", "ws");

test("a page of an allowed origin reads a WebSocket of events and of samples", async () => {
  await saveTopic("sockets");
  for (let n = 0; n < 3; n++) await publish("sockets", n);
  const events = await allowed.evaluate(readSocket, [`${sockets}/events/sockets/ws?since=-1h`, 3]);
  assert.deepEqual(events.got.map((e) => e.payload.n), [0, 1, 2]);
  await saveUnitop("sockets");
  const samples = await allowed.evaluate(readSocket, [`${sockets}/timeseries/sockets/ws`, 2]);
  assert.equal(samples.got.length, 2);
  assert.equal(samples.got[0].subscription.source, "host");
});

test("a page of another origin is refused a WebSocket, and nothing of it remains", async () => {
  await saveTopic("secret");
  await publish("secret", 1);
  const total = async () => /^hyprxa_websockets_opened_total (\d+)$/m.exec(
    await (await fetch(`${server}/metrics`)).text())[1];
  const before = await total();
  const { opened, got, code } = await refused.evaluate(readSocket,
    [`${sockets}/events/secret/ws?since=-1h`, 1]);
  assert.deepEqual({ opened, got, code }, { opened: false, got: [], code: 1006 });
  assert.equal(await total(), before);
});

test("a page of another origin can neither read nor write, not even blindly", async () => {
  await saveTopic("kept");
  await publish("kept", 1);
  const manager = async () => (await (await fetch(`${server}/admin/info`)).json()).info[0].created;
  const running = await manager();
  const outcome = await refused.evaluate(async ({ server, body }) => {
    const attempt = (path, options) =>
      fetch(server + path, options).then((reply) => reply.status || reply.type, (e) => e.name);
    return {
      read: await attempt("/events/kept/last"),
      write: await attempt("/events/publish", {
        method: "POST", headers: { "Content-Type": "application/json" }, body }),
      // These two ask no permission first; the answer is hidden, the request arrives.
      blind: await attempt("/events/publish", { method: "POST", mode: "no-cors", body }),
      restart: await attempt("/events/admin/manager/restart", { mode: "no-cors" }),
    };
  }, { server, body: JSON.stringify({ topic: "kept", routing_key: "k", payload: { n: 2 } }) });
  assert.equal(outcome.read, "TypeError");
  assert.equal(outcome.write, "TypeError");
  assert.equal(await manager(), running);
  const last = await (await fetch(`${server}/events/kept/last`)).json();
  assert.deepEqual(last.payload, { n: 1 });
});
