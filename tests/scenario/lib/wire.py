"""A wire between a node and a server: a TCP proxy that can be cut, silently, as a network fails."""

import select
import socket
import threading


class Wire:
    """Forwards connections to a port of this machine.  Cut, it takes bytes and connections and lets
    nothing through; mended, it resets what was open, and forwards again."""

    def __init__(self, target):
        self.target = target
        self.lock = threading.Lock()
        self.open = []
        self.is_cut = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self.lock:
            self.is_cut = True

    def mend(self):
        with self.lock:
            self.is_cut = False
            closing, self.open = self.open, []
        for s in closing:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.mend()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        pair = [client]
        with self.lock:
            self.open.append(client)
            silent = self.is_cut
        try:
            if silent:  # somebody took the connection, and says nothing
                while client.recv(65536):
                    pass
                return
            server = socket.create_connection(("127.0.0.1", self.target), 5)
            pair.append(server)
            with self.lock:
                self.open.append(server)
            other = {client: server, server: client}
            while True:
                for s in select.select(pair, [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    if not self.is_cut:
                        other[s].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            for s in pair:
                s.close()
            with self.lock:
                self.open = [s for s in self.open if s not in pair]
