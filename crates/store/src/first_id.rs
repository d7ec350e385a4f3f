//! Where a time lies among ids: they begin with the time at which they were made.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The least UUIDv7 of a time: its first 48 bits are milliseconds since 1970. A time that they cannot hold becomes the nearest
/// that they can.
pub(crate) fn first_id_of(time: DateTime<Utc>) -> Uuid {
    const MILLISECONDS_MAX: i64 = (1 << 48) - 1;
    let milliseconds = time.timestamp_millis().clamp(0, MILLISECONDS_MAX);
    Uuid::from_u128(u128::from(milliseconds.unsigned_abs()) << 80)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ids_minted_in_a_day_lie_within_its_bounds() {
        let start: DateTime<Utc> = "2026-02-28T00:00:00Z".parse().unwrap();
        let last = start + TimeDelta::days(1) - TimeDelta::milliseconds(1);
        let timestamp = |at: DateTime<Utc>| {
            uuid::Timestamp::from_unix_time(at.timestamp().cast_unsigned(), at.timestamp_subsec_nanos(), 0, 0)
        };
        for at in [start, last] {
            let id = Uuid::new_v7(timestamp(at));
            assert!(first_id_of(start) <= id && id < first_id_of(start + TimeDelta::days(1)));
        }
    }

    #[test]
    fn times_that_no_id_can_have_are_the_first_and_the_last() {
        assert_eq!(first_id_of(DateTime::<Utc>::MIN_UTC), Uuid::nil());
        let last = Uuid::from_u128(((1 << 48) - 1) << 80);
        assert_eq!(first_id_of(DateTime::<Utc>::MAX_UTC), last);
    }
}
