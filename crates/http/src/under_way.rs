//! Counts what requests on HTTP/2 cost while they are under way, for the process and each tenant: a connection may have many
//! that wait for a body or for an event, each with a task and its head. On HTTP/1.1 connections bound them.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_types::limits::{H2_REQUEST_BYTES, H2_REQUESTS_BYTES_MAX};
use warp::http::Request;

use crate::budget::{Budget, Short, take_both};
use crate::quota::Quota;

/// What one tenant's may cost: room for all the streams and long polls that it may have.
pub(crate) const SHARE_BYTES_MAX: usize = H2_REQUESTS_BYTES_MAX / 4 * 3;

/// All requests of the process.
static PROCESS: Budget = Budget::new(H2_REQUESTS_BYTES_MAX);

/// What one request costs; dropping it gives that back.
#[derive(Debug)]
pub(crate) struct UnderWay {
    process: &'static Budget,
    quota: Arc<Quota>,
    count: usize,
}

impl UnderWay {
    /// Counts a request.
    ///
    /// # Errors
    /// 429 when the tenant has its share under way, 503 when the process has all that it may.
    pub(crate) fn count<B>(request: &Request<B>, quota: &Arc<Quota>) -> Result<Self, Problem> {
        Self::count_in(&PROCESS, H2_REQUEST_BYTES + head_len(request), quota)
    }

    fn count_in(process: &'static Budget, count: usize, quota: &Arc<Quota>) -> Result<Self, Problem> {
        take_both(Some(quota.under_way()), process, count).map_err(refused)?;
        Ok(Self {
            process,
            quota: Arc::clone(quota),
            count,
        })
    }
}

fn refused(short: Short) -> Problem {
    short.problem(match short {
        Short::Tenant => "this tenant has too many requests under way; wait for some of them to end",
        Short::Process => "too many requests are under way; try again in a moment",
    })
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.process.give_back(self.count);
        self.quota.under_way().give_back(self.count);
    }
}

/// The texts of a head, bytes.
fn head_len<B>(request: &Request<B>) -> usize {
    let headers = request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let path = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    headers + path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_and_the_process_are_bounded_and_get_back_what_has_ended() {
        static LARGE: Budget = Budget::new(usize::MAX);
        static SMALL: Budget = Budget::new(10);
        let (one, other) = (Arc::new(Quota::default()), Arc::new(Quota::default()));
        let all = UnderWay::count_in(&LARGE, SHARE_BYTES_MAX, &one).unwrap();
        assert_eq!(UnderWay::count_in(&LARGE, 1, &one).unwrap_err().status, 429);
        let _others = UnderWay::count_in(&LARGE, 1, &other).unwrap();
        drop(all);
        let _ten = UnderWay::count_in(&SMALL, 10, &one).unwrap();
        assert_eq!(UnderWay::count_in(&SMALL, 1, &other).unwrap_err().status, 503);
    }

    #[test]
    fn a_head_is_counted_with_its_path_and_query() {
        let request = Request::get("http://a/b?c=d")
            .header("e", "fgh")
            .body(())
            .unwrap();
        assert_eq!(head_len(&request), "/b?c=d".len() + "efgh".len());
    }
}
