"""The README's commands, run as a reader would: its blocks marked `<!-- test: NAME -->`."""

import json
import re
import subprocess
import tempfile
import unittest

from lib.server import BUILD, PLUGINS, PROGRAM, ROOT, Server


def blocks(name, document="README.md", language="sh"):
    text = (ROOT / document).read_text()
    return re.findall(rf"<!-- test: {name} -->\n```{language}\n(.*?)```", text, re.S)


def run(script, folder=ROOT):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True,
                          text=True, cwd=folder, timeout=60)


class Readme(unittest.TestCase):
    def test_first_stream(self):
        conf = {p.name: p.read_text() for p in (ROOT / "conf.d").glob("*.yaml")}
        with Server(conf) as server:
            server.start()
            out = []
            for block in blocks("first-stream") + blocks("reading-back"):
                block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
                # Streams are cut by --max-time, which curl reports as 28.
                block = re.sub(r"(curl -sN.*?)( &)?$", r"(\1 || [ $? = 28 ])\2", block, flags=re.M)
                done = run(block, folder=server.folder)
                self.assertEqual(done.returncode, 0, (block, done.stdout, done.stderr))
                out.append(done.stdout)
            # The line for a browser's console: what it opens is there.
            (line,) = blocks("websocket", language="js")
            path = re.search(r'"ws://127.0.0.1:8000(/[^"]*)"', line).group(1)
            with server.websocket(path) as ws:
                server.post("/events/publish", {"topic": "alarms", "routing_key": "north.tank2",
                                                "payload": {"level": 4}})
                self.assertEqual(ws.next()["routing_key"], "north.tank2")
            files = sorted(p.suffix for p in server.folder.iterdir() if p.is_file())
            columns = (server.folder / "machine.csv").read_text().splitlines()[0].split(",")
        whoami, unitop, data, events, back, by_hour = out
        self.assertEqual(json.loads(whoami)["username"], "admin")
        self.assertEqual(json.loads(unitop), {"status": "OK"})
        self.assertIn('data: {"subscription":', data)
        self.assertIn('"items":[{"timestamp":', data)
        self.assertIn("timestamp,", data)
        self.assertEqual(set(columns), {"timestamp", "cpu", "cpu.quality", "memory",
                                        "memory.quality"})
        self.assertEqual(files.count(".csv"), 2, files)  # of samples and of events
        replies, decoder = [], json.JSONDecoder()
        while back:
            reply, end = decoder.raw_decode(back)
            replies.append(reply)
            back = back[end:]
        self.assertEqual([set(r) for r in replies], 3 * [{"subscription", "items"}] + [{"items"}])
        self.assertTrue(all(r["items"] for r in replies), replies)
        hours = [json.loads(line) for line in by_hour.splitlines()]
        self.assertEqual(set(hours[0]), {"timestamp", "cpu", "memory"})
        self.assertTrue(1 <= len(hours) - 1 <= 2, hours)
        self.assertEqual(events.count('"routing_key":"north.tank1"'), 2, events)

    def test_logs(self):
        (block,) = blocks("logs")
        with Server() as server:
            server.start()
            block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
            block = re.sub(r"(curl -sN.*)", r"(\1 || [ $? = 28 ])", block)
            done = run(block)
            self.assertEqual(done.returncode, 0, (done.stdout, done.stderr))
            (warning,) = done.stdout.splitlines()
            self.assertIn("debug authentication", json.loads(warning)["log"]["original"])

    def test_resume(self):
        (block,) = blocks("resume")
        with Server() as server, tempfile.TemporaryDirectory() as folder:
            server.start()
            done = run(f"cd {folder}\n" +
                       block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn('"payload":{"n":1}', done.stdout)
        self.assertEqual(done.stdout.count('"payload":{"n":2}'), 1, done.stdout)

    def test_check(self):
        (block,) = blocks("check")
        block = block.replace("build/bin/hyprxad", str(PROGRAM))
        done = run(block.replace("build/plugins", str(PLUGINS)))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_schema_validate(self):
        (block,) = blocks("schema-validate")
        with tempfile.TemporaryDirectory() as folder:
            done = run(f"cd {folder}\n" + block.replace("build/bin/hyprxa", f"{BUILD}/bin/hyprxa"))
        self.assertEqual((done.returncode, done.stdout),
                         (1, "$.level-'high' is not of type 'integer'\n"), done.stderr)

    def test_template(self):
        (block,) = blocks("template", "sdk/README.md")
        with tempfile.TemporaryDirectory() as folder:
            done = run(f"cd {folder}; PREFIX={folder}/usr\n" +
                       block.replace("install build", f"install {BUILD}"))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            conf = f"sources:\n  demo:\n    plugin: {folder}/wave/build/wave.so\n" \
                   "    options: { period_s: 60 }\n    record: [{ amplitude: 10 }]\n"
            with Server({"demo.yaml": conf}) as server:
                server.start()
                server.save_unitop("waves", {"w": {"source": "demo", "amplitude": 10}})
                with server.stream("/timeseries/waves/stream") as stream:
                    value = stream.next().json()["items"][0]["value"]
                self.assertTrue(-10 <= value <= 10, value)

    def test_the_settings_and_sources_shown_are_accepted(self):
        blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
        self.assertGreaterEqual(len(blocks), 4)
        for block in blocks:
            is_source = "sources:" in block
            with Server({"x.yaml": block} if is_source else {}) as server:
                file = server.folder / "hyprxa.yaml"
                file.write_text("" if is_source else block)
                done = subprocess.run([PROGRAM, "--check", "--config", file, "--conf-dir",
                                       server.conf_dir, "--plugin-dir", PLUGINS],
                                      capture_output=True, text=True, env=server.env)
                self.assertEqual(done.returncode, 0, block + done.stderr)

    def test_help_names_every_flag_of_the_table(self):
        flags = re.findall(r"^\| `(--[a-z-]+)", (ROOT / "README.md").read_text(), re.M)
        self.assertIn("--config", flags)
        shown = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True).stdout
        for flag in flags:
            self.assertIn(flag, shown)


if __name__ == "__main__":
    unittest.main()
