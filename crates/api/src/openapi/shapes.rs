//! The schemas of single values: every bound comes from `posthaste_types`, so that each is said once. What bounds cannot
//! say (bytes against characters, one field against another) stands in the description.
//!
//! JSON Schema counts characters where the system counts bytes. `maxLength` then is the byte limit: nothing longer is
//! ever taken, and text beyond ASCII may be refused sooner.

use posthaste_types::{self as types, limits};
use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType,
};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// Everything that Postgres can hold in a text.
const NO_NUL: &str = r"^[^\u0000]*$";
/// No control characters, neither of ASCII nor of Latin-1.
const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// A field value of HTTP without control characters but the tab.
const HEADER_VALUE: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$";
/// A `token` of RFC 9110, section 5.6.2.
const HEADER_NAME: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// Makes types that stand for a schema only: `Name = builder => "what it means"`.
macro_rules! shapes {
    ($($name:ident = $schema:expr => $description:expr;)+) => {
        $(
            #[doc = $description]
            #[derive(Debug)]
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    RefOr::T($schema.description(Some($description)).into())
                }
            }

            impl ToSchema for $name {}
        )+

        /// Every shape with its name, for the document's components.
        pub(crate) fn all() -> Vec<(String, RefOr<Schema>)> {
            vec![$((<$name as ToSchema>::name().into_owned(), $name::schema())),+]
        }
    };
}

shapes! {
    TaskId = id(types::TaskId::PREFIX) => "A task's id; ids sort by the time of submission.";
    EventId = id(types::EventId::PREFIX) => "An event's id: the `webhook-id` by which receivers discard duplicates.";
    EndpointId = id(types::EndpointId::PREFIX) => "A webhook endpoint's id.";
    AttemptId = id(types::AttemptId::PREFIX) => "A webhook attempt's id.";
    KeyId = id(types::KeyId::PREFIX) => "An API key's id; it tells nothing of the secret.";
    AuditId = id(types::AuditId::PREFIX) => "An audit entry's id.";

    TaskType = word(limits::TASK_TYPE_LEN_MAX) => "Which handler serves the task.";
    Queue = word(limits::QUEUE_LEN_MAX) => "The queue: one that the server's configuration names (422 otherwise).";
    OrderingKey = text(1, limits::KEY_BYTES_MAX)
        => "Tasks of one key run one after another, in submit order. The limit is in bytes of UTF-8.";
    Channel = text(1, limits::CHANNEL_BYTES_MAX)
        => "Whom the result is for; streams and endpoints filter by it. The limit is in bytes of UTF-8.";
    Priority = whole(0.0, f64::from(limits::PRIORITY_MAX)).default(Some(limits::PRIORITY_DEFAULT.into()))
        => "Higher runs first, inside a queue.";
    Delay = number(0.0, limits::DELAY_S_MAX) => "Seconds from now.";
    Timeout = number(0.001, limits::TIMEOUT_S_MAX) => "Seconds that one attempt may take.";
    Tags = tags() => "For search and replay filters. The limits are in bytes of UTF-8.";
    RetryPolicy = retry_policy() => "Exponential back-off with full jitter; what is absent has its default.";
    TaskState = words(types::TaskState::ALL.map(|state| state.to_string()))
        => "Where a task stands; DONE, FAILED, CANCELLED and EXPIRED are final.";
    TaskError = task_error() => "Why a task failed, or its last attempt did.";
    EventKind = words(types::EventKind::ALL.map(|kind| kind.to_string())) => "What happened to a task.";
    BatchTasks = ArrayBuilder::new()
        .items(Ref::from_schema_name("SubmitRequest"))
        .min_items(Some(1))
        .max_items(Some(limits::BATCH_TASK_COUNT_MAX))
        => "Each is checked alone: one that is wrong has its problem in its place of the answer, unless `atomic` is set.";

    EventKinds = list("EventKind") => "Kinds of event; empty means the final ones.";
    Channels = list("Channel") => "Only these channels; empty means all.";
    TaskTypes = texts(text(1, limits::TASK_TYPE_LEN_MAX)) => "Only these task types; empty means all.";
    EndpointUrl = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uri".to_owned())))
        .max_length(Some(limits::ENDPOINT_URL_BYTES_MAX))
        => "An absolute `https` URL without user name and password that leads to public addresses alone. Configuration \
            may allow `http` and other addresses.";
    Description = text(0, limits::ENDPOINT_DESCRIPTION_BYTES_MAX) => "For people.";
    Headers = headers() => "Sent with each request. What the delivery sets itself (`content-type`, `webhook-…` and so on) is refused.";
    RatePerS = number(0.001, limits::ENDPOINT_RATE_PER_S_MAX) => "Requests a second.";
    MaxInFlight = whole(1.0, limits::WEBHOOK_IN_FLIGHT_COUNT_MAX as f64) => "Requests at once.";
    Signing = words(["v1"]) => "How requests are signed: `v1` is HMAC-SHA256 (Standard Webhooks 1.0).";
    AttemptStatus = words(["succeeded", "failed"]) => "What came of an attempt.";
    HttpStatus = whole(100.0, 599.0) => "An HTTP status.";

    Scope = words(types::Scope::ALL.map(types::Scope::as_str))
        => "What a key allows: `submit` tasks, `read` them and their events, or `admin`: everything.";
    Scopes = ArrayBuilder::new().items(Ref::from_schema_name("Scope")).min_items(Some(1))
        => "What a key allows; `admin` allows all.";
    KeyName = text(1, limits::KEY_NAME_BYTES_MAX).pattern(Some(NO_CONTROL))
        => "For people. The limit is in bytes of UTF-8.";
    StreamGrant = stream_grant() => "Which streams the token opens: those of `channels`, or that of `task`.";
    KeyOverlap = whole(0.0, limits::KEY_OVERLAP_S_MAX as f64).default(Some(limits::KEY_OVERLAP_S_DEFAULT.into()))
        => "Seconds that the old key goes on.";
    GrantedChannels = ArrayBuilder::new()
        .items(Ref::from_schema_name("Channel"))
        .min_items(Some(1))
        .max_items(Some(limits::STREAM_TOKEN_CHANNEL_COUNT_MAX))
        => "Events of these channels.";
    StreamTokenTtl = whole(1.0, limits::STREAM_TOKEN_S_MAX as f64).default(Some(limits::STREAM_TOKEN_S_MAX.into()))
        => "Seconds in which streams may be opened with it.";
    Slot = string().min_length(Some(1)).max_length(Some(63)).pattern(Some("^[a-z_][a-z0-9_]*$"))
        => "A replication slot of the database, by which its connector is named.";
    ConnectorState = words(["streaming", "paused", "waiting", "standby", "away"])
        => "`streaming`: rows are published as they are committed. `paused`: it stands still, as it was asked to. `waiting`: \
            something keeps it from the slot or from the broker. `standby`: another program reads the slot. `away`: no \
            connector lives.";
    ConnectorInstanceState = words(["streaming", "paused", "waiting", "standby"])
        => "`streaming`: it holds the slot. `paused`: it stands still. `standby`: it waits for another to let go of the slot. \
            `waiting`: for something else.";
    ConnectorDelivery = words(["at_least_once", "exactly_once"]) => "How often a row may come.";
    OnWalLimit = words(["refuse", "release"])
        => "At 95 % of what may be kept ingest refuses tasks (`refuse`), or at the end the server lets the slot go (`release`).";
    WalStatus = words(["reserved", "extended", "unreserved", "lost"])
        => "`reserved` and `extended`: kept. `unreserved`: about to be lost. `lost`: the slot is to be made anew.";
    ProblemType = string().format(Some(SchemaFormat::Custom("uri-reference".to_owned())))
        => "Names the kind of problem: `/docs/errors#CODE`.";
    ErrorCode = words(types::ErrorCode::ALL.map(types::ErrorCode::as_str))
        => "Stable, for programs. `/docs` says what each means and what to do about it.";
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A TypeID: see `posthaste_types::ids`.
fn id(prefix: &str) -> ObjectBuilder {
    string().pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
}

/// `[a-z0-9._-]`.
fn word(len_max: usize) -> ObjectBuilder {
    string()
        .min_length(Some(1))
        .max_length(Some(len_max))
        .pattern(Some("^[a-z0-9._-]+$"))
}

/// What a filter looks for; what is too long for any task finds none.
pub(crate) fn any_text() -> ObjectBuilder {
    string().pattern(Some(NO_NUL))
}

pub(crate) fn text(bytes_min: usize, bytes_max: usize) -> ObjectBuilder {
    any_text()
        .min_length((bytes_min > 0).then_some(bytes_min))
        .max_length(Some(bytes_max))
}

pub(crate) fn words<T: Into<Value>>(words: impl IntoIterator<Item = T>) -> ObjectBuilder {
    string().enum_values(Some(words))
}

pub(crate) fn number(min: f64, max: f64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(min))
        .maximum(Some(max))
}

pub(crate) fn whole(min: f64, max: f64) -> ObjectBuilder {
    number(min, max).schema_type(Type::Integer)
}

pub(crate) fn time() -> ObjectBuilder {
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// References to a component, as many as a filter may hold.
fn list(name: &str) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(Ref::from_schema_name(name))
        .max_items(Some(limits::ENDPOINT_LIST_LEN_MAX))
}

fn texts(item: ObjectBuilder) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(item)
        .max_items(Some(limits::ENDPOINT_LIST_LEN_MAX))
}

/// An object of any names with these values.
pub(crate) fn map(names: ObjectBuilder, values: ObjectBuilder, count_max: usize) -> ObjectBuilder {
    ObjectBuilder::new()
        .property_names(Some(names))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(values.into()))))
        .max_properties(Some(count_max))
}

fn tags() -> ObjectBuilder {
    map(
        text(1, limits::TAG_NAME_BYTES_MAX),
        text(0, limits::TAG_VALUE_BYTES_MAX),
        limits::TAG_COUNT_MAX,
    )
}

fn headers() -> ObjectBuilder {
    let value = string()
        .max_length(Some(limits::ENDPOINT_HEADER_BYTES_MAX))
        .pattern(Some(HEADER_VALUE));
    let name = string().pattern(Some(HEADER_NAME));
    map(name, value, limits::ENDPOINT_LIST_LEN_MAX)
}

fn retry_policy() -> ObjectBuilder {
    let default = types::RetryPolicy::default();
    let seconds = |value: f64, about: &str| {
        number(0.0, limits::RETRY_WAIT_S_MAX)
            .default(Some(value.into()))
            .description(Some(about))
    };
    let attempts = whole(1.0, f64::from(limits::ATTEMPT_COUNT_MAX))
        .default(Some(default.max_attempts.into()))
        .description(Some("Attempts in all, the first included; 1 means no retry."));
    let factor = number(1.0, limits::RETRY_FACTOR_MAX)
        .default(Some(default.factor.into()))
        .description(Some("What the bound is multiplied by after each attempt."));
    ObjectBuilder::new()
        .property("max_attempts", attempts)
        .property(
            "base_s",
            seconds(
                default.base_s,
                "The upper bound of the first wait, seconds; at most `max_s`.",
            ),
        )
        .property("factor", factor)
        .property(
            "max_s",
            seconds(default.max_s, "The bound never exceeds this, seconds."),
        )
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// One of the two, not both and not neither.
fn stream_grant() -> AllOfBuilder {
    let only = |name: &str, other: &str, named: Type| {
        ObjectBuilder::new()
            .property(name, ObjectBuilder::new().schema_type(named))
            .property(other, ObjectBuilder::new().schema_type(Type::Null))
            .required(name)
    };
    let one = AnyOfBuilder::new()
        .item(only("channels", "task", Type::Array))
        .item(only("task", "channels", Type::String));
    AllOfBuilder::new()
        .item(Ref::from_schema_name("NewStreamToken"))
        .item(one)
}

fn task_error() -> ObjectBuilder {
    let about = |text: &str| string().description(Some(text));
    let retryable = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("Whether another attempt may help."));
    let details = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("Anything more that the handler said."));
    ObjectBuilder::new()
        .property("code", about("A stable code in the handler's words."))
        .property("message", about("For a person."))
        .property("retryable", retryable)
        .property("details", details)
        .required("code")
        .required("message")
        .required("retryable")
}
