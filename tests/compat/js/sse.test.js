// The package `eventsource` as a reader of our streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Relay, publish, require, saveTopic, saveUnitop, server, until } from "./lib.js";

const { EventSource } = require("eventsource");

/** An open EventSource and what it gives, as long as `body` runs. */
async function reading(url, body) {
  const source = new EventSource(url);
  const messages = [];
  source.onmessage = (event) => messages.push(event);
  try {
    await until(() => source.readyState === EventSource.OPEN, "the stream to open");
    return await body(messages, source);
  } finally {
    source.close();
  }
}

const numbers = (messages) => messages.map((m) => JSON.parse(m.data).payload.n);
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

test("every event of a burst comes once and in order", async () => {
  await saveTopic("burst");
  await reading(`${server}/events/burst/stream`, async (messages) => {
    for (const n of range(0, 200)) await publish("burst", n);
    await until(() => messages.length >= 200, "200 events");
    assert.deepEqual(numbers(messages), range(0, 200));
  });
});

test("a sub-topic is a stream of its own", async () => {
  await saveTopic("plant");
  await reading(`${server}/events/plant/stream?routingKey=north.$`, async (messages) => {
    await publish("plant", 1, "south.a");
    await publish("plant", 2, "north.a");
    await until(() => messages.length > 0, "an event");
    assert.deepEqual(numbers(messages), [2]);
  });
});

test("samples come as they are read", async () => {
  await saveUnitop("box");
  await reading(`${server}/timeseries/box/stream`, async (messages) => {
    await until(() => messages.length >= 10, "10 messages");
    const metrics = new Set(messages.map((m) => JSON.parse(m.data).subscription.metric));
    assert.deepEqual([...metrics].sort(), ["cpu.user", "memory.used"]);
  });
});

test("the end of a stream is an event that says why", async () => {
  await saveTopic("ended");
  await reading(`${server}/events/ended/stream`, async (messages, source) => {
    const ended = new Promise((done) => source.addEventListener("end", done));
    await fetch(`${server}/events/admin/manager/restart`, { method: "POST" });
    assert.match(JSON.parse((await ended).data).reason, /restarted/);
  });
});

test("a stream that there is not is an error with its status, not an endless retry", async () => {
  const source = new EventSource(`${server}/events/nosuch/stream`);
  const error = await new Promise((done) => { source.onerror = done; });
  assert.equal(error.code, 404);
  assert.equal(source.readyState, EventSource.CLOSED);
});
