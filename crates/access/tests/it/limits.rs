//! Tenants' limits: their own over the configuration's, changed while processes run.

use std::sync::Arc;

use posthaste_access::{LimitChanges, set_limits};
use posthaste_types::{Scope, TenantLimits};

use crate::world::{World, eventually, run};

#[test]
fn limits_change_in_the_quota_that_callers_hold_on_every_process() {
    run(async {
        let world = World::new().await;
        let defaults = TenantLimits {
            streams: Some(5),
            endpoints: Some(7),
            ..TenantLimits::default()
        };
        let (_, one) = world.key("acme", &[Scope::Read]).await;
        let (_, two) = world.key("acme", &[Scope::Submit]).await;
        let (_, other) = world.key("other", &[Scope::Read]).await;
        let processes = [
            world.process_with(defaults).await,
            world.process_with(defaults).await,
        ];
        let quotas = processes.each_ref().map(|process| {
            let caller = process.caller(&one).unwrap();
            assert!(Arc::ptr_eq(caller.quota(), process.caller(&two).unwrap().quota()));
            assert_eq!(caller.quota().limits(), defaults);
            Arc::clone(caller.quota())
        });

        let changes = LimitChanges {
            streams: Some(Some(2)),
            tasks_per_s: Some(Some(10.0)),
            ..LimitChanges::default()
        };
        let set = async |changes: &LimitChanges| {
            let clock = world.clock();
            set_limits(&world.store, &*clock, "acme", "cli".to_owned(), changes)
                .await
                .unwrap()
        };
        set(&changes).await;
        let expected = TenantLimits {
            streams: Some(2),
            tasks_per_s: Some(10.0),
            endpoints: Some(7),
            ..TenantLimits::default()
        };
        for quota in &quotas {
            eventually("the limits are in force", || quota.limits() == expected).await;
        }
        assert_eq!(processes[0].caller(&other).unwrap().quota().limits(), defaults);

        let back = LimitChanges {
            streams: Some(None),
            ..LimitChanges::default()
        };
        let own = set(&back).await;
        assert_eq!((own.streams, own.tasks_per_s), (None, Some(10.0)));
        for quota in &quotas {
            eventually("the configuration decides again", || {
                quota.limits().streams == Some(5)
            })
            .await;
        }
    });
}

#[test]
fn changes_of_different_limits_at_once_lose_none() {
    run(async {
        let world = World::new().await;
        let clock = world.clock();
        let set = async |changes: LimitChanges| {
            set_limits(&world.store, &*clock, "new", "cli".to_owned(), &changes)
                .await
                .unwrap()
        };
        let streams = LimitChanges {
            streams: Some(Some(1)),
            ..LimitChanges::default()
        };
        let endpoints = LimitChanges {
            endpoints: Some(Some(2)),
            ..LimitChanges::default()
        };
        tokio::join!(set(streams), set(endpoints));
        let tenants = world.store.tenants().await.unwrap();
        assert_eq!(tenants[0].name, "new");
        assert_eq!(
            (tenants[0].limits.streams, tenants[0].limits.endpoints),
            (Some(1), Some(2))
        );
    });
}

#[test]
fn a_tenant_with_as_many_open_tasks_as_it_may_submits_none_until_some_end() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.key("acme", &[Scope::Submit]).await;
        let process = world.process().await;
        let quota = Arc::clone(process.caller(&key).unwrap().quota());
        let client = world.client().await;
        let open = async |count: i64| {
            let statement =
                "insert into posthaste.open_tasks as open (tenant, shard, count) values ('acme', 0, $1)
                on conflict (tenant, shard) do update set count = excluded.count";
            client.execute(statement, &[&count]).await.unwrap();
        };
        open(5).await;
        quota.take_tasks(1).expect("nobody counts without a limit");
        let changes = LimitChanges {
            open_tasks: Some(Some(5)),
            ..LimitChanges::default()
        };
        let clock = world.clock();
        set_limits(&world.store, &*clock, "acme", "cli".to_owned(), &changes)
            .await
            .unwrap();
        eventually("the bound is reached", || quota.take_tasks(1).is_err()).await;
        assert_eq!(quota.take_tasks(1).unwrap_err().status, 429);
        open(2).await;
        eventually("there is room", || quota.take_tasks(1).is_ok()).await;
    });
}
