// What clients of each kind see when the server is told to stop.
import assert from "node:assert/strict";
import { test } from "node:test";
import { require, saveTopic, server, serverPid, until } from "./lib.js";

const { EventSource } = require("eventsource");
const WebSocket = require("ws");

test("SIGTERM ends streams with an event and sockets with 1001", async () => {
  await saveTopic("going");
  const source = new EventSource(`${server}/events/going/stream`);
  const socket = new WebSocket(`${server.replace(/^http/, "ws")}/events/going/ws`);
  const ended = new Promise((done) => source.addEventListener("end", done));
  const closed = new Promise((done) => socket.on("close", done));
  await until(() => source.readyState === EventSource.OPEN &&
    socket.readyState === WebSocket.OPEN, "both to open");
  process.kill(serverPid, "SIGTERM");
  assert.ok(JSON.parse((await ended).data).reason);
  assert.equal(await closed, 1001);
  source.close();
});
