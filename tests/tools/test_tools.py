"""The commands in tools/: what they promise in their --help."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "tools"


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60,
                          check=False, **options)


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/bash\n" + text, encoding="utf-8")
    path.chmod(0o755)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Help(unittest.TestCase):
    def test_every_command_explains_itself_and_does_nothing(self):
        for name in ("setup", "build", "run", "test", "fuzz", "check-format", "check-includes",
                     "services/port"):
            with self.subTest(name):
                done = run(TOOLS / name, "--help")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("usage:", done.stdout.lower())


class Port(unittest.TestCase):
    def test_ports_are_distinct_and_free_and_no_ephemeral_ones(self):
        ports = [int(p) for p in run(TOOLS / "services" / "port", 50).stdout.split()]
        self.assertEqual(len(set(ports)), 50)
        self.assertTrue(all(10000 <= p < 32000 for p in ports), ports)
        with socket.socket() as s:
            s.bind(("127.0.0.1", ports[0]))

    def test_bad_count_is_refused(self):
        self.assertEqual(run(TOOLS / "services" / "port", "0").returncode, 2)


class Setup(Folder):
    """With a system of our own making in front of PATH."""

    def setUp(self):
        super().setUp()
        self.calls = self.folder / "calls"
        self.bin = self.folder / "bin"
        script(self.bin / "apt-get", f'echo "$@" >>{self.calls}\n')
        script(self.bin / "sudo", f'echo sudo >>{self.calls}\nexec "$@"\n')
        self.packages = run(TOOLS / "setup", "--list", "--tests").stdout.split()
        self.assertIn("libjson-c-dev", self.packages)

    def setup(self, present, uid=0, path=None):
        lines = "".join(f"echo '{name}:amd64 ii '\n" for name in present[::2])
        lines += "".join(f"echo '{name} ii '\n" for name in present[1::2])
        script(self.bin / "dpkg-query", lines + "echo 'removed rc '\nexit 1\n")
        script(self.bin / "id", f"echo {uid}\n")
        path = path or f"{self.bin}:{os.environ['PATH']}"
        return run(TOOLS / "setup", "--tests", env={"PATH": path})

    def made_calls(self):
        return self.calls.read_text(encoding="utf-8") if self.calls.exists() else ""

    def test_nothing_missing_nothing_done(self):
        done = self.setup(self.packages, uid=1000)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.made_calls(), "")

    def test_exactly_what_is_missing_is_installed(self):
        present = [p for p in self.packages if p not in ("libyaml-dev", "cmake")]
        done = self.setup(present)
        self.assertEqual(done.returncode, 0, done.stderr)
        update, install = self.made_calls().splitlines()
        self.assertTrue(update.endswith(" update"), update)
        self.assertTrue(install.endswith(" cmake libyaml-dev"), install)
        self.assertIn("cmake libyaml-dev", done.stdout)

    def test_sudo_only_when_not_root(self):
        present = self.packages[1:]
        self.setup(present)
        self.assertNotIn("sudo", self.made_calls())
        self.setup(present, uid=1000)
        self.assertIn("sudo", self.made_calls())

    def test_without_sudo_it_says_what_to_run(self):
        (self.bin / "sudo").unlink()
        for name in ("bash", "env", "sed", "grep", "cat"):
            (self.bin / name).symlink_to(shutil.which(name))
        done = self.setup(self.packages[1:], uid=1000, path=str(self.bin))
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn(f"apt-get install {self.packages[0]}", done.stderr)
        self.assertEqual(self.made_calls(), "")

    def test_node_is_asked_for_only_where_there_is_no_recent_one(self):
        for code, wanted in ((0, False), (1, True)):
            script(self.bin / "node", f"exit {code}\n")
            script(self.bin / "npm", "")
            path = f"{self.bin}:{os.environ['PATH']}"
            listed = run(TOOLS / "setup", "--list", "--compat", env={"PATH": path}).stdout.split()
            self.assertIn("chromium", listed)
            self.assertEqual("nodejs" in listed, wanted)

    def test_unknown_argument_is_refused(self):
        self.assertEqual(run(TOOLS / "setup", "--everything").returncode, 64)


class Run(Folder):
    def setUp(self):
        super().setUp()
        (self.folder / "tools").mkdir()
        shutil.copy(TOOLS / "run", self.folder / "tools" / "run")
        script(self.folder / "tools" / "setup", "echo setup\n")
        script(self.folder / "tools" / "build", "echo build\n")
        script(self.folder / "build" / "bin" / "hyprxad", 'printf "%s\\n" "$@"\n')

    def run_it(self, *arguments, **env):
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), **env}
        (self.folder / "home").mkdir(exist_ok=True)
        done = run(self.folder / "tools" / "run", *arguments, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:2], ["setup", "build"])
        return lines[2:]

    def test_defaults(self):
        data = self.folder / "home" / ".local" / "share" / "hyprxa"
        self.assertEqual(self.run_it(), [
            "--conf-dir", f"{self.folder}/conf.d", "--plugin-dir", f"{self.folder}/build/plugins",
            "--data-dir", str(data), "--listen", "127.0.0.1:8000"])
        self.assertTrue(data.is_dir())

    def test_arguments_and_the_environment_win(self):
        got = self.run_it("--listen", "127.0.0.1:9000", "--data-dir=/x", "--log-level", "debug",
                          HYPRXA_CONF_DIR="/elsewhere")
        self.assertEqual(got, ["--plugin-dir", f"{self.folder}/build/plugins",
                               "--listen", "127.0.0.1:9000", "--data-dir=/x", "--log-level",
                               "debug"])

    def test_data_goes_to_the_xdg_folder_or_beside_the_build(self):
        xdg = self.folder / "xdg"
        self.assertIn(str(xdg / "hyprxa"), self.run_it(XDG_DATA_HOME=str(xdg)))
        self.assertIn(f"{self.folder}/build/data", self.run_it(HOME="/nonexistent"))


class CheckIncludes(Folder):
    GOOD = {
        "core/base/time.h": "#include <stdint.h>\n",
        "core/base/module.c": "#include <dlfcn.h>\n",
        "core/storage/db.h": "#include <sqlite3.h>\n",
        "core/storage/sqlite.c": '#include "storage/db.h"\n#include "base/time.h"\n',
        "core/events/events.c": '#include "topics/topics.h"\n#include "storage/storage.h"\n',
        "core/plugin_host/loader.c": "#include <hyprxa/plugin.h>\n",
        "core/events/CMakeLists.txt": "hyprxa_subsystem(events SOURCES a.c\n  USES base topics)\n",
        "plugins/p/plugin.c": '#include <hyprxa/plugin.h>\n#include "own.h"\n',
        "plugins/p/own.h": "",
    }

    def check(self, files):
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return run(TOOLS / "check-includes", "--root", self.folder)

    def test_a_good_tree_passes(self):
        done = self.check(self.GOOD)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_each_kind_of_trespass_is_named_with_its_place(self):
        bad = {
            "core/base/time.c": ('#include <stdint.h>\n#include "config/config.h"\n',
                                 "core/base/time.c:2: base must not include config"),
            "core/cache/cache.c": ('#include "storage/storage.h"\n', "must not include storage"),
            "core/topics/topics.c": ('#include "events/events.h"\n', "must not include events"),
            "core/events/e.c": ('#include "storage/db.h"\n', "it is storage's own"),
            "core/http/h.c": ("#  include <sqlite3.h>\n", "only be included in core/storage/"),
            "core/storage/s.c": ("#include <dlfcn.h>\n", "only be included in core/base/module.c"),
            "core/broker/b.c": ("#include <hyprxa/plugin.h>\n", "must not include the SDK"),
            "core/elsewhere/x.c": ("", "is in no layer"),
            "core/base/CMakeLists.txt": ("hyprxa_subsystem(base SOURCES a.c USES http LIBS x)\n",
                                         "base must not use http"),
            "plugins/q/plugin.c": ('#include "base/buf.h"\n', "must not include core"),
            "plugins/r/plugin.c": ('#include "p/own.h"\n', "its own only"),
        }
        for name, (text, expected) in bad.items():
            with self.subTest(name):
                shutil.rmtree(self.folder)
                done = self.check({**self.GOOD, name: text})
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn(f"{name}:", done.stderr)
                self.assertIn(expected, done.stderr)
        self.folder.mkdir(exist_ok=True)


if __name__ == "__main__":
    unittest.main()
