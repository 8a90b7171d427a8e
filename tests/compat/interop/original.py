"""What the original system does to RabbitMQ, MongoDB and Memcached, by the libraries it uses.

The statements are those of its contract: documents, queries, messages and keys.
"""

import asyncio
import hashlib
import re
import uuid
from datetime import datetime, timedelta

import aiormq
import orjson
import pymongo
from bson.int64 import Int64

MODULUS = 2 ** 61 - 1  # of Python's hash()


def utc():
    """What datetime.utcnow() gives it, in the milliseconds that a document keeps."""
    now = datetime.utcnow()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def subscription_hash(subscription):
    digest = hashlib.shake_128(bytes(sorted(orjson.dumps(subscription)))).hexdigest(16)
    return int(digest, 16) % MODULUS


def subscriber_key(subscription):
    digest = hashlib.shake_128(str(subscription_hash(subscription)).encode()).hexdigest(16)
    return str(int(digest, 16))


class Database:
    """Its MongoDB, database `hyprxa`."""

    def __init__(self, uri):
        self.client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)
        self.db = self.client["hyprxa"]

    def close(self):
        self.client.close()

    # --- writing ---

    def save_topic(self, topic, schema, by="ada"):
        self.db["topics"].update_one({"topic": topic}, {"$set": {
            "jschema": schema, "modified_by": by, "modified_at": utc()}}, upsert=True)

    def save_unitop(self, name, mapping, meta, by="ada"):
        self.db["unitops"].update_one({"name": name}, {"$set": {
            "data_mapping": mapping, "meta": meta, "modified_by": by, "modified_at": utc()}},
            upsert=True)

    def store_event(self, event):
        self.db["events"].update_one(
            {"topic": event["topic"], "routing_key": event["routing_key"], "count": {"$lt": 1000}},
            {"$push": {"events": event}, "$set": {"timestamp": event["timestamp"]},
             "$inc": {"count": 1}}, upsert=True)

    def store_samples(self, subscription, samples):
        now = datetime.utcnow()
        self.db["timeseries"].insert_many([
            {"source": subscription["source"], "subscription": Int64(subscription_hash(subscription)),
             "timestamp": timestamp, "value": value, "expire": now}
            for timestamp, value in samples], ordered=False)

    # --- reading ---

    def topic(self, topic):
        return self.db["topics"].find_one({"topic": topic})

    def unitop(self, name):
        return self.db["unitops"].find_one({"name": name})

    def last_event(self, topic, routing_key=None):
        query = {"topic": topic}
        if routing_key:
            query["routing_key"] = routing_key
        bucket = self.db["events"].find_one(query, sort=[("timestamp", pymongo.DESCENDING)])
        return bucket and max(bucket["events"], key=lambda event: event["timestamp"])

    def event_keys(self, topic, regex):
        return self.db["events"].find({"topic": topic, "routing_key": {
            "$regex": regex, "$options": "i"}}).distinct("routing_key")

    def events(self, topic, start, end):
        buckets = self.db["events"].find({"topic": topic, "timestamp": {"$gte": start, "$lte": end}}
                                         ).sort("timestamp", pymongo.ASCENDING)
        return [event for bucket in buckets for event in bucket["events"]
                if start <= event["timestamp"] <= end]

    def buckets(self, topic):
        return list(self.db["events"].find({"topic": topic}))

    def samples(self, subscription, start, end):
        found = self.db["timeseries"].find(
            {"timestamp": {"$gte": start, "$lte": end},
             "subscription": subscription_hash(subscription), "source": subscription["source"]})
        return list(found.sort("timestamp", pymongo.DESCENDING).limit(5000))[::-1]


class Broker:
    """Its RabbitMQ; its exchanges."""

    EVENTS, TIMESERIES = ("hyprxa.exchange.events", "topic"), ("hyprxa.exchange.timeseries", "direct")

    def __init__(self, uri):
        self.loop = asyncio.new_event_loop()
        self.connection = self.wait(aiormq.connect(uri))

    def wait(self, awaitable):
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, 30))

    def close(self):
        self.wait(self.connection.close())
        self.loop.close()

    def channel(self, exchange):
        channel = self.wait(self.connection.channel(publisher_confirms=True))
        # Refused when the other system declared it otherwise.
        self.wait(channel.exchange_declare(exchange=exchange[0], exchange_type=exchange[1]))
        return channel

    def publish(self, exchange, key, body):
        channel = self.channel(exchange)
        self.wait(channel.basic_publish(
            body if isinstance(body, bytes) else orjson.dumps(body), exchange=exchange[0],
            routing_key=key,
            properties=aiormq.spec.Basic.Properties(delivery_mode=1, message_id=uuid.uuid4().hex)))
        self.wait(channel.close())

    def subscribe(self, exchange, *keys):
        """A queue as each of its subscribers has one; `receive` takes from it."""
        channel = self.channel(exchange)
        queue = self.wait(channel.queue_declare("", exclusive=True, auto_delete=True)).queue
        for key in keys:
            self.wait(channel.queue_bind(queue, exchange[0], routing_key=key))
        messages = asyncio.Queue()

        async def keep(message):
            messages.put_nowait(message)
        self.wait(channel.basic_consume(queue, keep, no_ack=True))
        return messages

    def receive(self, messages):
        return self.wait(messages.get())


def bind_key(topic, routing_key=None):
    """The key that its subscriber binds."""
    if not routing_key:
        return f"{topic}.#"
    key = ".".join(part for part in routing_key.split(".") if part)
    return key if key.startswith(topic) else f"{topic}.{key}"


UUID_HEX = re.compile(r"[0-9a-f]{32}")
MINUTE = timedelta(minutes=1)
