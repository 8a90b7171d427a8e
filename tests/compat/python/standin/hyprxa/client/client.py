"""A stand-in for the original client, written from what that one sends and parses, flaws included.

It serves where the original cannot be had, so that the same test bodies run.  The flaws kept: GET
for the restarts, paths and names of its own (`/admin/logs`, `start_time`), None as an empty value,
data items lost on the way to a download, one event per read.
"""

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path

import httpx
from pydantic import parse_obj_as

from .models import *

TRIES = 6
RETRIED = (httpx.ReadTimeout, httpx.PoolTimeout, httpx.ReadError, httpx.WriteError,
           httpx.RemoteProtocolError, httpx.LocalProtocolError)
SETTINGS = {"timeout": httpx.Timeout(30.0),
            "limits": httpx.Limits(max_connections=25, max_keepalive_connections=10)}
BLANK = (b"\r\r", b"\n\n", b"\r\n\r\n")


class OneEventPerRead:
    """The whole buffer is one event as soon as it ends with a blank line."""

    def __init__(self):
        self.buffer = b""

    def feed(self, data):
        """The event's JSON value in a list, or an empty list."""
        self.buffer += data
        if not self.buffer.endswith(BLANK):
            return []
        lines, self.buffer = self.buffer.splitlines(), b""  # of bytes: CR and LF only
        name, texts = "message", []
        for line in lines:
            field, _, value = line.decode().partition(":")
            if field == "data":
                texts.append(value.removeprefix(" "))
            elif field == "event":
                name = value.removeprefix(" ")
        return [json.loads("\n".join(texts))] if texts and name == "message" else []


def pause(answer, tried):
    """Seconds until the next try."""
    if answer is not None and "Retry-After" in answer.headers:
        return float(answer.headers["Retry-After"])
    return 2.0 ** tried


def as_document(kind):
    return lambda data: kind(**data)


class Destination:
    """Where a download goes: a file object, a file, or a folder."""

    def __init__(self, where, suffix):
        if where is None:
            where = Path("~/.hyprxa/downloads").expanduser()
            where.mkdir(parents=True, exist_ok=True)
        self.where, self.suffix, self.lines = where, suffix, []

    def write(self, headers):
        if hasattr(self.where, "write"):
            self.where.writelines(self.lines)
            return
        path = Path(self.where)
        if path.suffix.lower() != self.suffix:
            name = headers.get("content-disposition", "").partition("filename=")[2]
            path /= name or f"{int(datetime.now().timestamp() * 1e6)}{self.suffix}"
        with open(path, "w") as file:
            file.writelines(self.lines)


class Calls:
    """The calls both clients have, in terms of _json, _stream and _file."""

    # --- users, topics, events ---

    def whoami(self):
        return self._json("GET", "/users/whoami", BaseUser)

    def create_topic(self, topic):
        return self._json("POST", "/topics/save", Status, json=topic.dict())

    def get_topic(self, topic):
        return self._json("GET", f"/topics/search/{topic}", as_document(TopicDocument))

    def get_topics(self):
        return self._json("GET", "/topics/search", TopicQueryResult)

    def publish_event(self, event):
        return self._json("POST", "/events/publish", Status, json=event.dict())

    def get_event(self, topic, routing_key=None):
        return self._json("GET", f"/events/{topic}/last", as_document(EventDocument),
                          params={"routingKey": routing_key})

    def query_events(self, topic, routing_key):
        return self._json("GET", f"/events/{topic}/query", EventQueryResult,
                          params={"routingKey": routing_key})

    def stream_events(self, topic, routing_key=None):
        return self._stream(f"/events/{topic}/stream", as_document(EventDocument),
                            {"routingKey": routing_key})

    def download_events(self, topic, destination=None, start_time=None, end_time=None,
                        routing_key=None, timezone=None):
        return self._file(f"/events/{topic}/recorded", "text/csv", Destination(destination, ".csv"),
                          {"start_time": start_time, "end_time": end_time,
                           "routingKey": routing_key, "timezone": timezone})

    def restart_event_manager(self):
        return self._json("GET", "/events/admin/manager/restart", Status)

    # --- unitops, timeseries ---

    def get_sources(self):
        return self._json("GET", "/timeseries/sources", AvailableSources)

    def create_unitop(self, unitop):
        return self._json("POST", "/unitops/save", Status, json=unitop.dict())

    def get_unitop(self, unitop, map_subscriptions=False):
        return self._json("GET", f"/unitops/search/{unitop}", as_document(UnitOpDocument),
                          params={"mapSubscriptions": map_subscriptions})

    def get_unitops(self, q, map_subscriptions=False):
        q = json.dumps(q) if isinstance(q, dict) else q
        return self._json("GET", "/timeseries/unitop/search", UnitOpQueryResult,
                          params={"q": q, "mapSubscriptions": map_subscriptions})

    def subscribe_to_data_items(self, data_items):
        return self._json("POST", "/timeseries/subscribe", ReferenceToken,
                          json={"items": sorted(data_items)})

    def stream_data(self, unitop, data_items=None):
        before = data_items and (lambda: self.subscribe_to_data_items(data_items))
        return self._stream(f"/timeseries/{unitop}/stream", SubscriptionMessage.parse_obj, None,
                            before)

    def get_data(self, unitop, data_item, start_time=None, end_time=None, timezone=None,
                 limit=5000):
        return self._json("GET", f"/timeseries/{unitop}/samples", SubscriptionMessage, params={
            "dataItem": data_item, "startTime": start_time, "endTime": end_time,
            "timezone": timezone, "limit": limit})

    def download_data(self, unitop, destination=None, data_items=None, start_time=None,
                      end_time=None, timezone=None, scan_rate=5):
        return self._file(f"/timeseries/{unitop}/recorded", "text/csv",
                          Destination(destination, ".csv"),
                          {"start_time": start_time, "end_time": end_time, "timezone": timezone,
                           "scan_rate": scan_rate})

    def restart_timeseries_manager(self, source):
        return self._json("GET", "/timeseries/admin/manager/restart", Status)

    # --- administration ---

    def get_info(self):
        return self._json("GET", "/admin/info", Info)

    def stream_logs(self):
        return self._stream("/admin/logs", lambda data: data)

    def download_logs(self, q, destination=None):
        q = json.dumps(q) if isinstance(q, dict) else q
        return self._file("/admin/logs/recorded", "application/x-jsonlines",
                          Destination(destination, ".jsonl"), {"q": q})

    @staticmethod
    def _arguments(params=None, **rest):
        """httpx sends None as an empty value and a datetime as its str()."""
        if params is None:
            return rest
        plain = {k: v if v is None or isinstance(v, (bool, int)) else str(v)
                 for k, v in params.items()}
        return {"params": plain, **rest}


class RetryingClient(httpx.Client):
    def send(self, *args, **kwargs):
        for tried in range(1, TRIES + 1):
            answer = None
            try:
                answer = super().send(*args, **kwargs)
                if answer.status_code != 503:
                    break
            except RETRIED:
                if tried == TRIES:
                    raise
            time.sleep(pause(answer, tried))
        answer.raise_for_status()
        return answer


class RetryingAsyncClient(httpx.AsyncClient):
    async def send(self, *args, **kwargs):
        for tried in range(1, TRIES + 1):
            answer = None
            try:
                answer = await super().send(*args, **kwargs)
                if answer.status_code != 503:
                    break
            except RETRIED:
                if tried == TRIES:
                    raise
            await asyncio.sleep(pause(answer, tried))
        answer.raise_for_status()
        return answer


class HyprxaClient(Calls):
    def __init__(self, api):
        self._client = RetryingClient(base_url=api, **SETTINGS)

    def __enter__(self):
        self._client.__enter__()
        return self

    def __exit__(self, *exc):
        self._client.__exit__(*exc)

    def _json(self, method, path, model, **arguments):
        answer = self._client.request(method, path, **self._arguments(**arguments))
        return parse(model, answer.json())

    def _stream(self, path, model, params=None, before=None):
        if before:
            params = {"token": before().token}
        parser = OneEventPerRead()
        with self._client.stream("GET", path, **self._arguments(params)) as answer:
            for data in answer.iter_bytes():
                yield from map(model, parser.feed(data))

    def _file(self, path, accept, destination, params):
        arguments = self._arguments(params, headers={"Accept": accept})
        with self._client.stream("GET", path, **arguments) as answer:
            destination.lines.extend(answer.iter_lines())
        destination.write(answer.headers)


class HyprxaAsyncClient(Calls):
    def __init__(self, api):
        self._client = RetryingAsyncClient(base_url=api, **SETTINGS)

    async def __aenter__(self):
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc):
        await self._client.__aexit__(*exc)

    async def _json(self, method, path, model, **arguments):
        answer = await self._client.request(method, path, **self._arguments(**arguments))
        return parse(model, answer.json())

    async def _stream(self, path, model, params=None, before=None):
        if before:
            params = {"token": (await before()).token}
        parser = OneEventPerRead()
        async with self._client.stream("GET", path, **self._arguments(params)) as answer:
            async for data in answer.aiter_bytes():
                for event in parser.feed(data):
                    yield model(event)

    async def _file(self, path, accept, destination, params):
        arguments = self._arguments(params, headers={"Accept": accept})
        async with self._client.stream("GET", path, **arguments) as answer:
            async for line in answer.aiter_lines():
                destination.lines.append(line)
        destination.write(answer.headers)


def parse(model, data):
    return parse_obj_as(model, data) if isinstance(model, type) else model(data)
