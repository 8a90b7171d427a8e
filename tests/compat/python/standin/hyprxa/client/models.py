"""What the client sends and parses.  Documents refuse keys that they do not know."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Optional, Union

from pydantic import BaseModel, Extra


class StatusOptions(str, Enum):
    OK = "OK"
    FAILED = "FAILED"


class Status(BaseModel):
    status: StatusOptions


class BaseUser(BaseModel):
    username: str
    first_name: Optional[str]
    last_name: Optional[str]
    email: Optional[str]
    upi: Optional[int]
    company: Optional[str]
    country: Optional[str]
    scopes: Optional[set[str]]


class Topic(BaseModel):
    topic: str
    jschema: dict[str, Any]


@dataclass
class TopicDocument:
    topic: str
    jschema: dict[str, Any]
    modified_by: Optional[str]
    modified_at: datetime


class TopicQueryResult(BaseModel):
    items: list[Optional[str]]


class Event(BaseModel):
    topic: str
    routing_key: str
    payload: dict[str, Any]


@dataclass
class EventDocument:
    topic: str
    routing_key: str
    payload: dict[str, Any]
    timestamp: datetime
    posted_by: Optional[str]


class EventQueryResult(BaseModel):
    items: list[EventDocument]


class Subscription(BaseModel):
    source: str

    class Config:
        extra = Extra.allow


class UnitOp(BaseModel):
    name: str
    data_mapping: dict[str, Subscription]
    meta: dict[str, Any]


@dataclass
class UnitOpDocument:
    name: str
    data_mapping: dict[str, Subscription]
    meta: dict[str, Any]
    modified_by: str
    modified_at: datetime


class UnitOpQueryResult(BaseModel):
    items: list[Optional[UnitOpDocument]]


class TimestampedValue(BaseModel):
    timestamp: datetime
    value: Any


class SubscriptionMessage(BaseModel):
    subscription: Subscription
    items: list[TimestampedValue]


class ReferenceToken(BaseModel):
    token: str


class AvailableSources(BaseModel):
    sources: list[str]


# --- GET /admin/info ---

class Subscriber(BaseModel):
    name: str
    stopped: bool
    created: datetime
    uptime: int
    total_published_messages: int
    total_subscriptions: int


class Worker(BaseModel):
    running: bool
    stopped: bool
    queue_length: int
    pending_batch_length: int
    pending_batch_size: int


class Storage(BaseModel):
    created: datetime
    uptime: int
    workers_used: int
    worker: Optional[Worker]


class Connection(BaseModel):
    name: str
    online: bool
    created: datetime
    uptime: int
    total_published_messages: int
    total_subscriptions: int


class Integration(BaseModel):
    name: str
    closed: bool
    data_queue_size: int
    dropped_connection_queue_size: int
    created: datetime
    uptime: int
    active_connections: int
    active_subscriptions: int
    subscription_capacity: int
    total_connections_serviced: int
    connection_info: list[Connection]


class Lock(BaseModel):
    name: str
    created: datetime
    uptime: int


class ManagerInfo(BaseModel):
    name: str
    closed: bool
    status: str
    created: datetime
    uptime: int
    active_subscribers: int
    active_subscriptions: int
    subscriber_capacity: int
    total_subscribers_serviced: int
    subscribers: list[Subscriber]
    storage_buffer_size: int
    storage: Storage
    total_published: int
    total_stored: int


class EventManagerInfo(ManagerInfo):
    publish_buffer_size: int


class TimeseriesManagerInfo(ManagerInfo):
    source: str
    integration: Integration
    lock: Lock


class Info(BaseModel):
    status: str
    info: list[Union[EventManagerInfo, TimeseriesManagerInfo]]
