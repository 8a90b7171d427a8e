// The package `eventsource` on a connection that breaks: it comes back with Last-Event-ID.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Relay, publish, require, saveTopic, server, until } from "./lib.js";

const { EventSource } = require("eventsource");

test("after each break the stream goes on without loss or duplicate", async () => {
  await saveTopic("broken");
  const relay = await Relay.start();
  const ids = [];
  const source = new EventSource(`${relay.url}/events/broken/stream`, {
    fetch: (input, init) => {
      ids.push(init.headers["Last-Event-ID"]);
      return fetch(input, init);
    },
  });
  const got = [], gaps = [];
  source.onmessage = (event) => got.push(JSON.parse(event.data).payload.n);
  source.addEventListener("gap", (event) => gaps.push(event.data));
  const open = () => until(() => source.readyState === EventSource.OPEN, "the stream to open");
  try {
    await open();
    let n = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 50; i++) {
        if (i === 25) relay.cut(); // with some on their way
        await publish("broken", n++);
      }
      await until(() => got.length >= n, `${n} events, through ${relay.accepted} connections`);
      await open();
    }
    assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
    assert.deepEqual(gaps, []);
    assert.equal(relay.accepted, 4);
    assert.ok(ids.slice(1).every((id) => id), String(ids));
  } finally {
    source.close();
    relay.stop();
  }
});

test("what a client missed while it was away is replayed from where it was", async () => {
  await saveTopic("away");
  const first = new EventSource(`${server}/events/away/stream`);
  const seen = [];
  first.onmessage = (event) => seen.push(event);
  await until(() => first.readyState === EventSource.OPEN, "the stream to open");
  await publish("away", 0);
  await until(() => seen.length === 1, "an event");
  first.close();
  for (let n = 1; n < 100; n++) await publish("away", n);
  const id = encodeURIComponent(seen[0].lastEventId);
  const second = new EventSource(`${server}/events/away/stream?last_event_id=${id}`);
  const got = [];
  second.onmessage = (event) => got.push(JSON.parse(event.data).payload.n);
  await until(() => got.length >= 99, "99 events");
  await publish("away", 100);
  await until(() => got.length >= 100, "a live one");
  assert.deepEqual(got, Array.from({ length: 100 }, (_, n) => n + 1));
  second.close();
});
