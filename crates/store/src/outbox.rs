//! One row of the outbox, written inside somebody's transaction. The grouped writes have statements of their own.

use deadpool_postgres::GenericClient;
use posthaste_types::EventId;

use crate::{Error, query};

const ADD_OUTBOX: &str = "-- add_outbox
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
    values ($1, $2, $3, $4, $5, $6, $7)";

/// What goes to a topic.
pub(crate) struct OutboxRow<'task> {
    pub(crate) event_id: EventId,
    pub(crate) topic: &'task str,
    /// The record's key.
    pub(crate) key: &'task str,
    /// A task type, or `task.done` and so on.
    pub(crate) kind: &'task str,
    /// The finished value.
    pub(crate) payload: &'task [u8],
    pub(crate) tenant: &'task str,
    pub(crate) traceparent: Option<&'task str>,
}

/// Adds the row; it is published if and when the transaction commits.
pub(crate) async fn add(transaction: &impl GenericClient, row: &OutboxRow<'_>) -> Result<(), Error> {
    query::execute(
        transaction,
        ADD_OUTBOX,
        &[
            &row.event_id.uuid(),
            &row.topic,
            &row.key,
            &row.kind,
            &row.payload,
            &row.tenant,
            &row.traceparent,
        ],
    )
    .await?;
    Ok(())
}
