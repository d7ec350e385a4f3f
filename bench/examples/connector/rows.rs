//! Writes outbox rows whose payload begins with their number: as many as go in at once, or on a schedule.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::world::World;

const TABLE: &str = "posthaste.outbox";
const COLUMNS: &str = "id, aggregatetype, aggregateid, type, payload, tenant";
pub(crate) const PAYLOAD_BYTES: usize = 256;
const NUMBER_BYTES: usize = 8;
const KEY_COUNT: u64 = 1000;
/// What one connection writes with ease, a commit for each row.
const ROWS_PER_S_AND_LANE: u64 = 250;

/// Before the first row of a schedule: connections are made, and the subscriber waits at the topic's end.
const LEAD: Duration = Duration::from_secs(1);
/// Connections that fill at once.
const FILL_LANE_COUNT: u64 = 2;

/// Commits `count` rows, so many at a time. Nobody waits for the disk: only the reading is measured.
pub(crate) async fn fill(world: &World, topic: &str, count: u64, rows_per_commit: u64) -> anyhow::Result<()> {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..FILL_LANE_COUNT {
        let (client, block) = (
            world.connect().await?,
            filling(topic, count, rows_per_commit, lane),
        );
        lanes.spawn(async move {
            client.batch_execute("set synchronous_commit = off").await?;
            client.batch_execute(&block).await
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    // Only what is on disk is streamed.
    world.database.batch_execute("checkpoint").await?;
    Ok(())
}

/// The lane's part of it.
fn filling(topic: &str, count: u64, rows_per_commit: u64, lane: u64) -> String {
    let filler = PAYLOAD_BYTES - NUMBER_BYTES;
    let commits = count / rows_per_commit;
    format!(
        "do $$ begin
             for n in {lane}..{commits} - 1 by {FILL_LANE_COUNT} loop
                 insert into {TABLE} ({COLUMNS})
                 select gen_random_uuid(), '{topic}', 'key-' || i % {KEY_COUNT}, 'bench.row',
                        int8send(i) || decode(repeat('5a', {filler}), 'hex'), 'default'
                 from generate_series(n::bigint * {rows_per_commit}, (n + 1)::bigint * {rows_per_commit} - 1) i;
                 commit;
             end loop;
         end $$"
    )
}

/// Removes all rows: what is measured is the log, and the disk is not endless.
pub(crate) async fn forget(world: &World) -> anyhow::Result<()> {
    Ok(world.database.batch_execute(&format!("truncate {TABLE}")).await?)
}

/// Commits `rate` rows a second for so long, one at a time, on a fixed schedule. Returns when each commit was
/// acknowledged, by the row's number.
pub(crate) async fn paced(
    world: &World,
    topic: &str,
    rate: u64,
    duration: Duration,
) -> anyhow::Result<Vec<Instant>> {
    let count = rate * duration.as_secs();
    let lane_count = rate.div_ceil(ROWS_PER_S_AND_LANE);
    let begun = Instant::now() + LEAD;
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..lane_count {
        let (client, topic) = (world.connect().await?, topic.to_owned());
        lanes.spawn(async move {
            let numbers = (lane..count).step_by(usize::try_from(lane_count)?);
            write_lane(&client, &topic, numbers, rate, begun).await
        });
    }
    let mut committed = vec![begun; usize::try_from(count)?];
    while let Some(lane) = lanes.join_next().await {
        for (number, at) in lane?? {
            committed[usize::try_from(number)?] = at;
        }
    }
    Ok(committed)
}

async fn write_lane(
    client: &Client,
    topic: &str,
    numbers: impl Iterator<Item = u64>,
    rate: u64,
    begun: Instant,
) -> anyhow::Result<Vec<(u64, Instant)>> {
    let insert = format!(
        "insert into {TABLE} ({COLUMNS}) values (gen_random_uuid(), $1, $2, 'bench.row', $3, 'default')"
    );
    let insert = client.prepare(&insert).await?;
    let mut payload = [0x5a; PAYLOAD_BYTES];
    let mut committed = Vec::new();
    for number in numbers {
        let due = begun + Duration::from_micros(number * 1_000_000 / rate);
        tokio::time::sleep_until(due.into()).await;
        payload[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
        let key = format!("key-{}", number % KEY_COUNT);
        client
            .execute(&insert, &[&topic, &key, &payload.as_slice()])
            .await?;
        committed.push((number, Instant::now()));
    }
    Ok(committed)
}

/// The number of the row that a record's value came from.
pub(crate) fn number_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(..NUMBER_BYTES)?.try_into().ok()?))
}
