"""Run a command beside a server of its own: HYPRXA_URL and HYPRXA_PID tell the command which."""

import os
import subprocess
import sys

from lib.server import Server

CONF = """
sources:
  host:
    plugin: host
    options: { interval: 100ms }
"""


def main(command):
    with Server({"host.yaml": CONF}) as server:
        server.start()
        env = dict(os.environ, HYPRXA_URL=f"http://127.0.0.1:{server.port}",
                   HYPRXA_PID=str(server.process.pid))
        code = subprocess.run(command, env=env).returncode
        if code not in (0, 77):
            print(f"--- log of the server ---\n{server.log()}", file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
