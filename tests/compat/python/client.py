"""The two Python clients behind one face: blocking calls that give the client's own parsed objects.

`hyprxa.client` is whichever package stands first on PYTHONPATH: the original, or the stand-in.
"""

import asyncio
import inspect
import threading

from hyprxa.client.client import HyprxaAsyncClient, HyprxaClient

SECONDS = 30.0


def public_methods(kind):
    return {name for name, member in inspect.getmembers(kind, callable) if name[0] != "_"}


class Client:
    """Calls are counted in `called`, for the claim that every method was driven."""

    def __init__(self, url):
        self.called = set()
        self.client = self.kind(url)

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)


class Blocking(Client):
    kind = HyprxaClient

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *exc):
        self.client.__exit__(*exc)


class Awaited(Client):
    """HyprxaAsyncClient on an event loop of its own thread."""

    kind = HyprxaAsyncClient

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        super().__init__(url)

    def wait(self, awaitable):
        async def run():
            return await awaitable
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(SECONDS)

    def __getattr__(self, name):
        method = super().__getattr__(name)

        def call(*args, **kwargs):
            answer = method(*args, **kwargs)
            return self.wait(answer) if inspect.isawaitable(answer) else self.iterate(answer)
        return call

    def iterate(self, generator):
        try:
            while True:
                try:
                    yield self.wait(generator.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self.wait(generator.aclose())

    def __enter__(self):
        self.wait(self.client.__aenter__())
        return self

    def __exit__(self, *exc):
        self.wait(self.client.__aexit__(*exc))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
