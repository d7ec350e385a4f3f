//! The kept bytes of every version.

use std::fmt::Write as _;

use posthaste_schema::{TaskEvent, TaskRequested};

use crate::support::{ID, event, event_writers, request, request_writers};

const REQUEST_V1: &str = include_str!("../../../../schemas/golden/TaskRequested.v1.hex");
const EVENT_V1: &str = include_str!("../../../../schemas/golden/TaskEvent.v1.hex");

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(40).fold(String::new(), |mut text, line| {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text + "\n"
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn version_1_is_still_written_to_the_same_bytes() {
    assert_eq!(hex(&request().encode(ID)), REQUEST_V1);
    assert_eq!(hex(&event().encode(ID)), EVENT_V1);
}

#[test]
fn version_1_is_still_read() {
    assert_eq!(
        TaskRequested::decode(&bytes(REQUEST_V1), &request_writers()).unwrap(),
        request()
    );
    assert_eq!(
        TaskEvent::decode(&bytes(EVENT_V1), &event_writers()).unwrap(),
        event()
    );
}
