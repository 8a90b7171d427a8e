// What the tests share: the packages, the server (serve.py started it), waiting, publishing.
import { createRequire } from "node:module";
import { createServer, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export const require = createRequire(`${process.env.HYPRXA_NODE_MODULES}/`);
export const server = process.env.HYPRXA_URL;
export const serverPid = Number(process.env.HYPRXA_PID);

/** Poll `condition` until it gives something true, and return that. */
export async function until(condition, what, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await sleep(20);
  }
}

export async function post(path, body) {
  const reply = await fetch(server + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (answer.status !== "OK") throw new Error(`${path}: ${reply.status} ${JSON.stringify(answer)}`);
}

export const saveTopic = (topic) => post("/topics/save", { topic, jschema: {} });
export const publish = (topic, n, routing_key = "k") =>
  post("/events/publish", { topic, routing_key, payload: { n } });

export const saveUnitop = (name) =>
  post("/unitops/save", {
    name,
    data_mapping: {
      cpu: { source: "host", metric: "cpu.user" },
      memory: { source: "host", metric: "memory.used" },
    },
    meta: {},
  });

/** A TCP relay to the server, whose connections can be cut. */
export class Relay {
  static async start() {
    const relay = new Relay();
    relay.sockets = new Set();
    relay.accepted = 0;
    const { hostname, port } = new URL(server);
    relay.listener = createServer((near) => {
      relay.accepted++;
      const far = connect(Number(port), hostname);
      for (const [from, to] of [[near, far], [far, near]]) {
        relay.sockets.add(from);
        from.pipe(to);
        from.on("error", () => {});
        from.on("close", () => { relay.sockets.delete(from); to.destroy(); });
      }
    });
    await new Promise((done) => relay.listener.listen(0, "127.0.0.1", done));
    relay.url = `http://127.0.0.1:${relay.listener.address().port}`;
    return relay;
  }

  cut() {
    for (const socket of this.sockets) socket.destroy();
  }

  stop() {
    this.listener.close();
    this.cut();
  }
}
