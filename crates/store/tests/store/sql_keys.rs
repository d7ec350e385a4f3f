//! Idempotency keys of `posthaste.submit`.

use chrono::{Datelike as _, TimeDelta, Utc};
use posthaste_store::Submitted;
use tokio_postgres::error::SqlState;

use crate::sql_submit::submit;
use crate::world::{connect, keyed, task, with_world};

#[test]
fn a_key_gives_the_first_task_again_refuses_another_submission_and_is_one_with_that_of_http() {
    with_world("sql_keys", async |world| {
        let first = submit(&world, "'a', '1', idempotency_key => 'k'").await;
        assert_eq!(submit(&world, "'a', '1', idempotency_key => 'k'").await, first);
        let other = world
            .database
            .query("select posthaste.submit('a', '2', idempotency_key => 'k')", &[])
            .await;
        assert_eq!(
            other.unwrap_err().code(),
            Some(&SqlState::INVALID_PARAMETER_VALUE)
        );
        assert_eq!(
            world.submitter.submit(keyed(&task(), "k", 1)).await.unwrap(),
            Submitted::KeyReused
        );
        // Over HTTP it is in progress for as long as the application's transaction is.
        world.database.batch_execute("begin").await.unwrap();
        submit(&world, "'a', idempotency_key => 'open'").await;
        let over_http = keyed(&task(), "open", 1);
        assert_eq!(
            world.submitter.submit(over_http.clone()).await.unwrap(),
            Submitted::InProgress
        );
        world.database.batch_execute("rollback").await.unwrap();
        assert_eq!(
            world.submitter.submit(over_http).await.unwrap(),
            Submitted::Stored
        );
    });
}

#[test]
fn two_transactions_with_one_key_wait_for_each_other_and_make_one_task() {
    with_world("sql_wait", async |world| {
        let other = connect(&world.options("other").url).await;
        let submit_other = "select posthaste.submit('a', idempotency_key => 'k')";
        world.database.batch_execute("begin").await.unwrap();
        let first = submit(&world, "'a', idempotency_key => 'k'").await;
        let (second, ()) = tokio::join!(other.query_one(submit_other, &[]), async {
            // Until it waits.
            let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
            while world.count(waits, &[]).await == 0 {
                tokio::task::yield_now().await;
            }
            world.database.batch_execute("commit").await.unwrap();
        });
        assert_eq!(second.unwrap().get::<_, String>(0), first.to_string());
    });
}

#[test]
fn what_the_caller_has_set_changes_neither_the_submission_nor_its_key() {
    with_world("sql_settings", async |world| {
        // Its clocks are put forward within today, so that this day of UTC is no day there.
        let today = Utc::now().ordinal0();
        let zone = format!(
            "set timezone = 'WINTER0SUMMER,{today}/12,{}'",
            (today + 100) % 365
        );
        let later = (Utc::now() + TimeDelta::days(2)).to_rfc3339();
        for argument in [
            &format!("not_before => '{later}'"),
            &format!("deadline => '{later}'"),
            "delay_s => 0.1::float8 + 0.2",
            "timeout_s => 0.1::float8 + 0.2",
        ] {
            let key = argument.split_once(' ').unwrap().0;
            let payload = r#"('"' || chr(92) || 'u00e9"')::json"#;
            let arguments = format!("'a', {payload}, {argument}, idempotency_key => '{key}'");
            let mut ids = Vec::new();
            for settings in [
                // First, since a session reads a function's text once.
                "set standard_conforming_strings = off",
                zone.as_str(),
                "reset all",
                "set timezone = 'Europe/Berlin'; set datestyle = 'SQL, DMY'",
                "set extra_float_digits = -15",
                "set extra_float_digits = 3",
                "discard all",
            ] {
                world.database.batch_execute(settings).await.unwrap();
                ids.push(submit(&world, &arguments).await);
            }
            ids.dedup();
            assert_eq!(ids.len(), 1, "{key}");
        }
    });
}

/// What time has made of a submission, or of its queue, since the first.
#[test]
fn a_repeat_is_answered_though_it_would_be_too_late_for_a_first_one() {
    with_world("sql_late", async |world| {
        let deadline = (Utc::now() + TimeDelta::seconds(63)).to_rfc3339();
        let submission = format!("'a', delay_s => 60, deadline => '{deadline}'");
        let under_key = format!("{submission}, idempotency_key => 'k'");
        let first = submit(&world, &under_key).await;
        // Until it is too late, some three seconds from now.
        let anew = format!("select posthaste.submit({submission})");
        while world.database.query(&anew, &[]).await.is_ok() {}
        assert_eq!(submit(&world, &under_key).await, first);
        world.query("delete from posthaste.schemas", &[]).await;
        assert_eq!(submit(&world, &under_key).await, first);
        // Whatever else is wrong, another submission is told of the key.
        let other = format!("select posthaste.submit({under_key}, key => 'c')");
        let error = world.database.query(&other, &[]).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("idempotency_key"));
    });
}
