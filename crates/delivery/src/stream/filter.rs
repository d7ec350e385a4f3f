//! Which events a subscriber wants.

use std::sync::Arc;

use posthaste_schema::TaskEvent;
use posthaste_types::{EventKind, TaskId};

use crate::stream::entry::Entry;

/// A set of kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KindSet(u8);

impl KindSet {
    /// Every kind.
    pub(crate) const ALL: Self = Self(u8::MAX);

    /// Whether `kind` is in it.
    pub(crate) const fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Both.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<EventKind> for KindSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// What a subscriber wants; empty lists want everything.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Only this tenant's.
    pub(crate) tenant: Box<str>,
    /// Only these channels.
    pub(crate) channels: Vec<Arc<str>>,
    /// Only these task types.
    pub(crate) types: Vec<String>,
    /// Only these kinds.
    pub(crate) kinds: KindSet,
    /// Only this task.
    pub(crate) task: Option<TaskId>,
}

/// The index by which the log finds what a filter can match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Everything has to be looked at.
    All,
    /// Events of one channel.
    Channel(Arc<str>),
    /// Events of one task.
    Task(TaskId),
}

impl Filter {
    /// Everything of a tenant.
    pub(crate) fn of_tenant(tenant: &str) -> Self {
        Self {
            tenant: tenant.into(),
            channels: Vec::new(),
            types: Vec::new(),
            kinds: KindSet::ALL,
            task: None,
        }
    }

    /// Whether the subscriber wants this entry.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.task.is_none_or(|task| task == entry.task)
            && self.wants(
                &entry.tenant,
                entry.channel.as_deref(),
                &entry.task_type,
                entry.kind,
            )
    }

    /// Whether the subscriber wants this event, before it is encoded.
    pub(crate) fn matches_event(&self, event: &TaskEvent) -> bool {
        self.task.is_none_or(|task| task == event.task_id)
            && self.wants(
                &event.tenant,
                event.channel.as_deref(),
                &event.task_type,
                event.kind,
            )
    }

    fn wants(&self, tenant: &str, channel: Option<&str>, task_type: &str, kind: EventKind) -> bool {
        let listed = |wanted: &str| self.channels.iter().any(|name| **name == *wanted);
        self.kinds.contains(kind)
            && *self.tenant == *tenant
            && (self.channels.is_empty() || channel.is_some_and(listed))
            && (self.types.is_empty() || self.types.iter().any(|name| name == task_type))
    }

    /// The narrowest index that leads to every event which matches.
    pub(crate) fn scope(&self) -> Scope {
        match (self.task, self.channels.as_slice()) {
            (Some(task), _) => Scope::Task(task),
            (None, [channel]) => Scope::Channel(Arc::clone(channel)),
            _ => Scope::All,
        }
    }
}
