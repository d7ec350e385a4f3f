//! Limits while they are used and changed.

use super::*;

fn quota(limits: TenantLimits) -> Arc<Quota> {
    Arc::new(Quota::new(limits))
}

fn tasks(per_s: f64, burst: u32) -> TenantLimits {
    TenantLimits {
        tasks_per_s: Some(per_s),
        task_burst: Some(burst),
        ..TenantLimits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_the_time_after_which_it_is_taken() {
    let quota = quota(tasks(10.0, 100));
    quota.take_tasks(60).unwrap();
    quota.take_tasks(40).unwrap();
    let refused = quota.take_tasks(35).unwrap_err();
    assert_eq!((refused.status, refused.retry_after_s), (429, Some(4)));
    tokio::time::advance(Duration::from_millis(3400)).await;
    assert_eq!(quota.take_tasks(35).unwrap_err().retry_after_s, Some(1));
    tokio::time::advance(Duration::from_millis(100)).await;
    quota.take_tasks(35).unwrap();
}

#[test]
fn a_batch_that_can_never_be_taken_is_told_so() {
    let quota = quota(tasks(10.0, 100));
    let refused = quota.take_tasks(101).unwrap_err();
    assert_eq!(refused.status, 422);
    assert!(
        refused.detail.contains("101") && refused.detail.contains("100 submitted"),
        "{}",
        refused.detail
    );
    quota.take_tasks(100).unwrap();
}

#[test]
fn open_tasks_are_bounded_by_what_was_told_and_what_was_taken_since() {
    let quota = quota(TenantLimits {
        open_tasks: Some(10),
        ..TenantLimits::default()
    });
    quota.set_open_tasks(7);
    quota.take_tasks(2).unwrap();
    assert_eq!(quota.take_tasks(2).unwrap_err().status, 429);
    quota.take_tasks(1).unwrap();
    quota.set_open_tasks(3);
    quota.take_tasks(7).unwrap();
    assert_eq!(quota.take_tasks(11).unwrap_err().status, 422);
    quota.give_back_tasks(4);
    quota.take_tasks(4).unwrap();
    assert_eq!(quota.take_tasks(1).unwrap_err().status, 429);
    quota.give_back_tasks(100);
    quota.take_tasks(10).unwrap();
}

#[test]
fn a_tenant_that_may_have_no_tasks_open_is_told_to_wait_as_one_that_may_submit_none() {
    let open = TenantLimits {
        open_tasks: Some(0),
        ..TenantLimits::default()
    };
    for limits in [open, tasks(0.0, 0)] {
        assert_eq!(quota(limits).take_tasks(1).unwrap_err().status, 429);
    }
}

#[test]
fn a_stream_that_ends_gives_its_place_back() {
    let quota = quota(TenantLimits {
        streams: Some(1),
        ..TenantLimits::default()
    });
    let place = quota.open_stream().unwrap();
    assert_eq!(quota.open_stream().unwrap_err().status, 429);
    drop(place);
    let place = quota.open_stream().unwrap();
    quota.set_limits(TenantLimits::default());
    let more = quota.open_stream().unwrap();
    quota.set_limits(TenantLimits {
        streams: Some(2),
        ..TenantLimits::default()
    });
    assert!(quota.open_stream().is_err());
    drop((place, more));
}

#[tokio::test(start_paused = true)]
async fn changed_limits_hold_at_once_and_forgive_nothing() {
    let quota = quota(tasks(1.0, 10));
    quota.take_tasks(10).unwrap();
    quota.set_limits(tasks(100.0, 50));
    quota.take_tasks(40).unwrap();
    assert_eq!(quota.take_tasks(1).unwrap_err().status, 429);
    quota.set_limits(TenantLimits::default());
    quota.take_tasks(1_000_000).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_was_lifted_leaves_nothing_to_the_next_one() {
    let quota = quota(tasks(0.001, 50));
    quota.take_tasks(50).unwrap();
    quota.set_limits(TenantLimits::default());
    quota.set_limits(tasks(100.0, 100));
    quota.take_tasks(100).unwrap();
    assert_eq!(quota.take_tasks(1).unwrap_err().status, 429);
}

#[tokio::test(start_paused = true)]
async fn headers_tell_what_is_left() {
    assert!(Quota::default().headers().is_none());
    let quota = quota(TenantLimits {
        requests_per_s: Some(100.0),
        tasks_per_s: Some(20.0),
        task_burst: Some(50),
        ..TenantLimits::default()
    });
    for _ in 0..95 {
        quota.take_request().unwrap();
    }
    quota.take_tasks(50).unwrap();
    let (policy, left) = quota.headers().unwrap();
    assert_eq!(policy, r#""requests";q=100;w=1, "tasks";q=50;w=3"#);
    assert_eq!(left, r#""requests";r=5;t=1, "tasks";r=0;t=1"#);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(
        quota.headers().unwrap().1,
        r#""requests";r=100;t=0, "tasks";r=50;t=0"#
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_are_held_back_from_who_does_not_heed_them_and_come_one_by_one() {
    let quota = quota(TenantLimits::default());
    let began = Instant::now();
    for _ in 0..REFUSALS_PER_S_MAX {
        quota.refused().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let place = Duration::from_secs(1) / REFUSALS_PER_S_MAX;
    tokio::join!(
        async {
            quota.refused().await;
            assert_eq!(began.elapsed(), place);
        },
        async {
            quota.refused().await;
            assert_eq!(began.elapsed(), 2 * place);
        }
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    let later = Instant::now();
    quota.refused().await;
    assert_eq!(later.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_refusal_is_held_for_longer_than_its_bound() {
    let quota = quota(TenantLimits::default());
    let began = Instant::now();
    let all = (0..10 * REFUSALS_PER_S_MAX).map(|_| quota.refused());
    futures_util::future::join_all(all).await;
    assert_eq!(began.elapsed(), Duration::from_millis(REFUSAL_HELD_MS_MAX));
}
