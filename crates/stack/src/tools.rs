//! What making the parts ready shares: the Java that runs them, the cache that holds them, and whom to tell.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::Cache;
use crate::error::{Error, Missing};
use crate::find::{self, Java};
use crate::maven::Maven;
use crate::progress::{Progress, Step};
use crate::user::OrdinaryUser;

pub(crate) struct Tools {
    pub(crate) cache: Cache,
    java: Option<Java>,
    progress: Arc<dyn Progress>,
}

impl Tools {
    pub(crate) async fn find(user: Option<OrdinaryUser>, progress: Arc<dyn Progress>) -> Result<Self, Error> {
        let java = find::java(|program| user.is_none_or(|user| user.can_reach(program))).await;
        let tools = Self {
            cache: Cache::open(user)?,
            java,
            progress,
        };
        if let Some(java) = &tools.java {
            tools.found("Java", &java.version, &java.program);
        }
        Ok(tools)
    }

    pub(crate) fn java(&self) -> Result<&Java, Error> {
        self.java.as_ref().ok_or(Error::Missing(Missing::Java))
    }

    pub(crate) fn maven(&self) -> Result<Maven, Error> {
        Maven::find(self.java()?)
    }

    pub(crate) fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    pub(crate) fn found(&self, what: &'static str, version: &str, path: impl Into<PathBuf>) {
        self.progress.step(&Step::Found {
            what,
            version: version.to_owned(),
            path: path.into(),
        });
    }

    pub(crate) fn fetching(&self, what: String) {
        self.progress.step(&Step::Fetching { what });
    }
}
