//! What is compared. A further mode of either is one more line here.

use posthaste_stack::DebeziumTuning;

/// One way to run a connector.
#[derive(Debug)]
pub(crate) struct Mode {
    /// Begins with whose it is.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// `posthaste connector`, with these settings in its environment.
    Ours(&'static [(&'static str, &'static str)]),
    /// Debezium under Kafka Connect.
    Debezium {
        tuning: DebeziumTuning,
        /// Under a worker of a group, the one kind that can.
        is_exactly_once: bool,
    },
}

pub(crate) const MODES: &[Mode] = &[
    Mode {
        name: "ours",
        kind: Kind::Ours(&[]),
    },
    Mode {
        name: "ours exactly once",
        kind: Kind::Ours(&[("POSTHASTE_CONNECTOR__DELIVERY", "exactly_once")]),
    },
    Mode {
        name: "debezium default",
        kind: Kind::Debezium {
            tuning: DebeziumTuning::Default,
            is_exactly_once: false,
        },
    },
    Mode {
        name: "debezium tuned",
        kind: Kind::Debezium {
            tuning: DebeziumTuning::Tuned,
            is_exactly_once: false,
        },
    },
    Mode {
        name: "debezium limit",
        kind: Kind::Debezium {
            tuning: DebeziumTuning::LowLatency,
            is_exactly_once: false,
        },
    },
    Mode {
        name: "debezium exactly once",
        kind: Kind::Debezium {
            tuning: DebeziumTuning::Tuned,
            is_exactly_once: true,
        },
    },
];
