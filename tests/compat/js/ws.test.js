// The package `ws` as a reader of our WebSockets.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, test } from "node:test";
import { publish, require, saveTopic, saveUnitop, server, serverPid, until } from "./lib.js";

const WebSocket = require("ws");
const url = (path) => server.replace(/^http/, "ws") + path;

/** An open WebSocket, its messages, and how it was closed. */
async function reading(path, body) {
  const socket = new WebSocket(url(path));
  const messages = [];
  socket.on("message", (data, isBinary) => {
    assert.equal(isBinary, false);
    messages.push(JSON.parse(data));
  });
  const closed = new Promise((done) =>
    socket.on("close", (code, reason) => done({ code, reason: reason.toString() })));
  await new Promise((done, fail) => socket.on("open", done).on("error", fail));
  try {
    return await body(messages, socket, closed);
  } finally {
    socket.terminate();
  }
}

const refusal = (path, options) => new Promise((done, fail) => {
  const socket = new WebSocket(url(path), options);
  socket.on("open", () => fail(new Error("accepted")));
  socket.on("unexpected-response", (_, reply) => { done(reply.statusCode); reply.destroy(); });
  socket.on("error", () => {});
});

const subscribers = async () =>
  (await (await fetch(`${server}/admin/info`)).json()).info[0].active_subscribers;

after(() => process.kill(serverPid, 0)); // it outlived all that was done to it

test("every event of a burst comes once and in order, as text", async () => {
  await saveTopic("burst");
  await reading("/events/burst/ws", async (messages) => {
    for (let n = 0; n < 200; n++) await publish("burst", n);
    await until(() => messages.length >= 200, "200 events");
    assert.deepEqual(messages.map((m) => m.payload.n), Array.from({ length: 200 }, (_, n) => n));
    assert.deepEqual(Object.keys(messages[0]),
      ["topic", "routing_key", "payload", "timestamp", "posted_by"]);
  });
});

test("$ stands for #, and no key for the whole topic", async () => {
  await saveTopic("plant");
  await reading("/events/plant/ws?routingKey=north.$", async (messages) => {
    await publish("plant", 1, "south.a");
    await publish("plant", 2, "north.a");
    await until(() => messages.length > 0, "an event");
    assert.equal(messages[0].payload.n, 2);
  });
});

test("samples come as they are read", async () => {
  await saveUnitop("box");
  await reading("/timeseries/box/ws?dataItem=memory", async (messages) => {
    await until(() => messages.length >= 5, "5 messages");
    assert.deepEqual([...new Set(messages.map((m) => m.subscription.metric))], ["memory.used"]);
  });
});

test("a handshake is refused with the status the stream would have", async () => {
  await saveTopic("there");
  assert.equal(await refusal("/events/nosuch/ws"), 404);
  assert.equal(await refusal("/timeseries/nosuch/ws"), 404);
  assert.equal(await refusal("/nothing/here"), 404);
  assert.equal(await refusal("/events/there/ws", { origin: "http://other.example" }), 403);
});

test("pings are answered and messages of a client ignored", async () => {
  await saveTopic("pinged");
  await reading("/events/pinged/ws", async (messages, socket) => {
    const pong = new Promise((done) => socket.on("pong", done));
    socket.send("hello");
    socket.send(Buffer.from([0, 1, 2]));
    socket.ping("are you there");
    assert.equal((await pong).toString(), "are you there");
    await publish("pinged", 1);
    await until(() => messages.length === 1, "an event");
  });
});

test("a client's close is answered with its code", async () => {
  await saveTopic("closing");
  await reading("/events/closing/ws", async (_, socket, closed) => {
    socket.close(1000, "enough");
    assert.equal((await closed).code, 1000);
  });
  await until(async () => await subscribers() === 0, "the subscriber to be gone");
});

test("a client that hangs up during the handshake leaves nothing behind", async () => {
  await saveTopic("hasty");
  const { hostname, port, host } = new URL(server);
  for (let i = 0; i < 20; i++) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    await new Promise((done) => socket.write(
      `GET /events/hasty/ws HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\n` +
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", done));
    socket.resetAndDestroy();
  }
  await publish("hasty", 1);
  await until(async () => await subscribers() === 0, "the subscribers to be gone");
});

test("a message beyond the limit closes with 1009", async () => {
  await saveTopic("huge");
  await reading("/events/huge/ws", async (_, socket, closed) => {
    socket.send("x".repeat(1 << 20));
    assert.equal((await closed).code, 1009);
  });
});

test("a restart of the manager closes with a code that says to come again", async () => {
  await saveTopic("ended");
  await reading("/events/ended/ws", async (_, socket, closed) => {
    await fetch(`${server}/events/admin/manager/restart`, { method: "POST" });
    const { code, reason } = await closed;
    assert.ok([1001, 1011, 1012].includes(code), String(code));
    assert.match(reason, /restart/);
  });
});
