// Chromium, and pages of other origins for it.
import { createServer } from "node:http";
import { require, server } from "./lib.js";

const { chromium } = require("playwright-core");
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function launch() {
  return chromium.launch({ executablePath: process.env.HYPRXA_CHROMIUM, args: QUIET });
}

/** An empty page's server; `origin(host)` names it by `host`. */
export async function emptyPages() {
  const pages = createServer((_, reply) => {
    reply.setHeader("Content-Type", "text/html");
    reply.end("<!doctype html><link rel=icon href=data:,><title>another origin</title>");
  });
  await new Promise((done) => pages.listen(0, "127.0.0.1", done));
  return {
    origin: (host) => `http://${host}:${pages.address().port}`,
    stop: () => { pages.close(); pages.closeAllConnections(); },
  };
}

/** What a page asks for, and what it complains of. */
export function watch(page) {
  const seen = { foreign: [], errors: [] };
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (origin !== server && !["data:", "blob:"].includes(protocol)) seen.foreign.push(request.url());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") seen.errors.push(message.text());
  });
  return seen;
}
