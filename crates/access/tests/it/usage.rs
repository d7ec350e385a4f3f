//! When keys were used last.

use chrono::TimeDelta;
use posthaste_runtime::Clock as _;
use posthaste_types::Scope;

use crate::world::{World, run};

#[test]
fn the_last_use_of_a_key_is_written_when_a_process_stops() {
    run(async {
        let world = World::new().await;
        let (used, key) = world.key("acme", &[Scope::Read]).await;
        let (unused, _) = world.key("acme", &[Scope::Read]).await;
        let (one, two) = (world.process().await, world.process().await);
        one.caller(&key).unwrap();
        world.clock.forward(TimeDelta::minutes(2));
        let between = world.clock.now();
        two.caller(&key).unwrap();
        let revision = world.store.access_revision().await.unwrap();
        two.stop().await;
        let last_used = async |id| world.keys().one("acme", id).await.unwrap().last_used_at;
        let noted = last_used(used).await.expect("it was noted");
        assert!(noted >= between && noted <= world.clock.now());
        // The earlier use comes later, and does not take the later one's place.
        one.stop().await;
        assert_eq!(last_used(used).await, Some(noted));
        assert_eq!(last_used(unused).await, None);
        assert_eq!(
            world.store.access_revision().await.unwrap(),
            revision,
            "nobody has to read keys again for it"
        );
    });
}
