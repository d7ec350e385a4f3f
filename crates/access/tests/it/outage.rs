//! While the database is away.

use chrono::TimeDelta;
use posthaste_types::limits::ACCESS_STALE_S_MAX;
use posthaste_types::{Scope, TenantLimits};

use crate::world::{World, eventually, run};

#[test]
fn known_keys_come_in_while_the_database_is_away_up_to_the_bound() {
    run(async {
        let world = World::alone("access-outage").await;
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        world.pause_postgres().await;
        let late = world.process_unready(TenantLimits::default());
        world
            .clock
            .forward(TimeDelta::seconds(ACCESS_STALE_S_MAX.cast_signed() - 60));
        process.caller(&key).expect("it is known");
        world.clock.forward(TimeDelta::seconds(61));
        for process in [&process, &late] {
            let problem = process.caller(&key).err().unwrap();
            assert_eq!(
                (problem.status, problem.code.as_str()),
                (503, "unavailable"),
                "{}",
                problem.detail
            );
            // What is no key at all is told so even now.
            let nonsense = posthaste_http::Credentials::Bearer("nonsense");
            assert_eq!(process.door.authenticate(nonsense).err().unwrap().status, 401);
        }
        world.resume_postgres().await;
        for process in [&process, &late] {
            eventually("keys come in again", || process.caller(&key).is_ok()).await;
        }
    });
}
