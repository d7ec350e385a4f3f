//! While the database is away.

use chrono::TimeDelta;
use posthaste_types::{Scope, TenantLimits};

use crate::world::{World, eventually, run};

#[test]
fn known_keys_come_in_while_the_database_is_away_whatever_the_wall_clock_says() {
    run(async {
        let world = World::alone("access-outage").await;
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        world.pause_postgres().await;
        let late = world.process_unready(TenantLimits::default());
        for days in [1, -2] {
            world.clock.forward(TimeDelta::days(days));
            process.caller(&key).expect("it is known");
        }
        let problem = late.caller(&key).err().unwrap();
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (503, "unavailable"),
            "{}",
            problem.detail
        );
        // What is no key at all is told so even now.
        let nonsense = posthaste_http::Credentials::Bearer("nonsense");
        assert_eq!(late.door.authenticate(nonsense).err().unwrap().status, 401);
        world.resume_postgres().await;
        for process in [&process, &late] {
            eventually("keys come in again", || process.caller(&key).is_ok()).await;
        }
    });
}
