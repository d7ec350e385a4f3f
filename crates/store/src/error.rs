//! What can go wrong with the record, and what may be done about it.

use std::sync::Arc;

use posthaste_runtime::chain;
use posthaste_types::ErrorCode;
use tokio_postgres::error::SqlState;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database is away, full or busy: try again later. Whether a write was made is unknown.
    Unavailable,
    /// This row, not the database, is at fault: never try it again unchanged.
    BadRow,
    /// Set-up is missing or does not fit this program: a person must act.
    Setup,
    /// A bug of ours.
    Internal,
}

/// An error of the store. The text is for the log; callers of the HTTP interface see [`Error::refusal`] alone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection became free in time, or none could be opened.
    #[error("no database connection within the bound")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// The database answered with an error, or the connection broke.
    #[error("database error in `{statement}`")]
    Database {
        /// The statement's name.
        statement: &'static str,
        /// What the driver said.
        source: tokio_postgres::Error,
    },
    /// More waits for its commit than the bound allows.
    #[error("the queue of `{0}` is full")]
    QueueFull(&'static str),
    /// What waits for its commit has waited for longer than the bound: the database is away or drowning.
    #[error("the queue of `{0}` stands still")]
    QueueStalled(&'static str),
    /// A statement took longer than its bound; whether what it writes was written is unknown.
    #[error("`{0}` took longer than its bound")]
    TimedOut(&'static str),
    /// What a grouped write, or a read for many, failed with, told to each of its callers.
    #[error(transparent)]
    Group(Arc<Self>),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
    /// The database's URL, its schema or its version does not fit; the text names the fix.
    #[error("{0}")]
    Setup(String),
    /// A value read back is not what was written.
    #[error("unexpected value in the database: {0}")]
    Corrupt(String),
}

impl Error {
    /// Names the statement that failed.
    pub(crate) const fn database(statement: &'static str) -> impl Fn(tokio_postgres::Error) -> Self + Copy {
        move |source| Self::Database { statement, source }
    }

    /// What the database answered with, if it did.
    pub(crate) fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Database { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Whether the database refused a row because its key is taken.
    pub(crate) fn is_unique_violation(&self) -> bool {
        self.sql_state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Whether the database does not know a table or a schema.
    pub(crate) fn is_undefined(&self) -> bool {
        matches!(
            self.sql_state(),
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME)
        )
    }

    /// Whether the database does not know a function or a schema: it was never migrated, or is somebody else's.
    pub(crate) fn is_undefined_function(&self) -> bool {
        matches!(
            self.sql_state(),
            Some(&SqlState::UNDEFINED_FUNCTION | &SqlState::INVALID_SCHEMA_NAME)
        )
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Pool(_)
            | Self::QueueFull(_)
            | Self::QueueStalled(_)
            | Self::TimedOut(_)
            | Self::Stopping => ErrorKind::Unavailable,
            Self::Group(error) => error.kind(),
            Self::Setup(_) => ErrorKind::Setup,
            Self::Corrupt(_) => ErrorKind::Internal,
            Self::Database { source, .. } => source.code().map_or(ErrorKind::Unavailable, kind_of_state),
        }
    }

    /// What a caller of the HTTP interface is told: a code, and a text that says nothing of the database. The log has the
    /// rest; but a database that is away is complained of elsewhere, and a line for each request would drown that.
    pub fn refusal(&self) -> (ErrorCode, &'static str) {
        match self.kind() {
            ErrorKind::Unavailable => {
                tracing::debug!(error = %chain(self), "the database cannot be read or written");
                (
                    ErrorCode::Unavailable,
                    "the database cannot be read or written now; try again in a moment",
                )
            }
            ErrorKind::Setup => {
                tracing::error!(error = %chain(self), "the database is not set up for this");
                (
                    ErrorCode::Unavailable,
                    "the database is not set up for this; the log says what is missing",
                )
            }
            ErrorKind::BadRow | ErrorKind::Internal => {
                tracing::error!(error = %chain(self), "the database refused what was asked");
                (
                    ErrorCode::Internal,
                    "something went wrong here; the server's log has the reason",
                )
            }
        }
    }
}

/// SQLSTATE classes by what they mean for the caller (Postgres manual, appendix A).
fn kind_of_state(state: &SqlState) -> ErrorKind {
    match state.code().get(..2) {
        // Data exception, integrity violation, program limit exceeded (a value too deep or too large).
        Some("22" | "23" | "54") => ErrorKind::BadRow,
        // Undefined objects, missing privileges: not migrated, or the wrong role.
        Some("42" | "3D" | "3F" | "28") => ErrorKind::Setup,
        // A prepared statement that a migration outdated, or that a pooler lost: a new connection heals it.
        Some("26") => ErrorKind::Unavailable,
        Some("0A") if state.code() == "0A000" => ErrorKind::Unavailable,
        // Connection, transaction rollback, resources, operator intervention, system error.
        Some("08" | "25" | "40" | "53" | "55" | "57" | "58") => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
