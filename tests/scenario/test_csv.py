"""The plugin csv in the server: followed live, and no row lost or doubled by kill -9 or rotation."""

import datetime
import random
import subprocess
import threading
import time
import unittest

from lib.server import PLUGINS, PROGRAM, Server, until

CONF = """
sources:
  line:
    plugin: csv
    record: [{ column: number }, { column: text }]
    options: { path: %s, poll: 200ms }
"""
ITEMS = {"number": {"source": "line", "column": "number"},
         "text": {"source": "line", "column": "text"}}
# Not further back than samples are kept.
EPOCH = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
EPOCH -= datetime.timedelta(days=2)


def stamp(n):
    """The time of row n, as files and answers have it."""
    return (EPOCH + datetime.timedelta(seconds=n)).isoformat()


class Writer(threading.Thread):
    """Appends rows in pieces that do not end with lines, and rotates now and then."""

    def __init__(self, path, rotate_every=None):
        super().__init__()
        self.path = path
        self.rotate_every = rotate_every
        self.rows = 0
        self.rotations = 0
        self.stopped = threading.Event()
        self.random = random.Random(4711)
        path.write_text("timestamp,number,text\n")

    def run(self):
        file = open(self.path, "a", buffering=1 << 16)
        while not self.stopped.wait(0.001):
            for _ in range(self.random.randrange(20)):
                n = self.rows
                text = f'"say ""{n}"",\nand go"' if n % 7 == 0 else f"row {n}"
                file.write(f"{stamp(n)},{n},{text}\n")
                self.rows += 1
                if self.random.random() < 0.1:
                    file.write(f"{stamp(self.rows)[:7]}")  # half a row
                    file.flush()
                    file.write(f"{stamp(self.rows)[7:]},{self.rows},row {self.rows}\n")
                    self.rows += 1
            file.flush()
            if self.rotate_every and self.rows > self.rotate_every * (self.rotations + 1):
                self.rotations += 1
                file.close()
                self.path.rename(f"{self.path}.{self.rotations}")
                file = open(self.path, "w", buffering=1 << 16)
                file.write("timestamp,number,text\n")
        file.close()

    def finish(self):
        self.stopped.set()
        self.join()


class Csv(unittest.TestCase):
    def check_all_rows(self, server, writer):
        server.save_unitop("line", ITEMS)
        last = stamp(writer.rows - 1)

        def complete():
            rows = server.recorded("line", start=stamp(0), end=last)
            whole = len(rows) > writer.rows and rows[-1][0] == last and all(map(all, rows))
            return rows if whole else None

        header, *rows = until(complete, f"{writer.rows} rows", seconds=60)
        self.assertEqual(len(rows), writer.rows)
        number, text = header.index("number"), header.index("text")
        for n, row in enumerate(rows):
            self.assertEqual((row[0], row[number]), (stamp(n), str(n)))
            self.assertIn(row[text].replace("\r\n", "\n"), (f"row {n}", f'say "{n}",\nand go'))

    def killed_again_and_again(self, path_option, rotate_every):
        server = Server()
        data = server.folder / "line"
        data.mkdir()
        (server.conf_dir / "line.yaml").write_text(CONF % (data / path_option))
        with server.start():
            writer = Writer(data / "line.csv", rotate_every)
            writer.start()
            try:
                for _ in range(8):
                    time.sleep(self.random.uniform(0.05, 0.6))  # kill at any moment
                    server.kill()
                    server.start()
            finally:
                writer.finish()
            self.check_all_rows(server, writer)
            self.assertEqual(server.stop(), 0)

    def setUp(self):
        self.random = random.Random(815)

    def test_kill_9_loses_and_doubles_no_row(self):
        self.killed_again_and_again("line.csv", None)

    def test_kill_9_while_files_rotate_loses_and_doubles_no_row(self):
        self.killed_again_and_again("line.csv*", 500)

    def test_rows_stream_as_they_are_written(self):
        server = Server()
        path = server.folder / "line.csv"
        path.write_text(f"timestamp,number,text\n{stamp(0)},0,first\n")
        (server.conf_dir / "line.yaml").write_text(CONF % path)
        with server.start():
            server.save_unitop("line", {"number": ITEMS["number"]})
            until(lambda: server.samples("line", "number", start=stamp(0)), "the first row")
            with server.stream("/timeseries/line/stream") as stream:
                for n in range(1, 20):
                    with open(path, "a") as file:
                        file.write(f"{stamp(n)},{n},\n")
                    items = stream.next().json()["items"]
                    self.assertEqual(items, [{"timestamp": stamp(n), "value": n}])

    def test_malformed_rows_are_logged_with_file_and_line(self):
        server = Server()
        path = server.folder / "line.csv"
        path.write_text(f"timestamp,number,text\nyesterday,1,\n{stamp(1)},1,\n")
        (server.conf_dir / "line.yaml").write_text(CONF % path)
        with server.start():
            server.save_unitop("line", ITEMS)
            until(lambda: server.samples("line", "number", start=stamp(0)), "the good row")
            self.assertIn("line.csv:2: 'yesterday' is not a time in the format iso8601", server.log())

    def test_a_bad_option_is_named_with_file_and_line(self):
        conf = "sources:\n  line:\n    plugin: csv\n    options: { path: /tmp/x, delimiter: ab }\n"
        with Server({"line.yaml": conf}) as server:
            checked = subprocess.run([PROGRAM, "--conf-dir", server.conf_dir, "--plugin-dir", PLUGINS,
                                      "--data-dir", server.data_dir, "--check"],
                                     capture_output=True, text=True)
            self.assertEqual(checked.returncode, 78, checked)
            self.assertIn("line.yaml:4:41: source 'line'", checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main()
