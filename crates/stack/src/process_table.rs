//! Questions about processes that are not our children: `/proc` on Linux, `ps` and `pgrep` elsewhere.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// Names one life of one process: a recycled pid has another identity. `None` when it is gone or a zombie.
pub(crate) fn identity(pid: i32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started = start_ticks(&stat)?;
        // Ticks count from the boot, so that they name a process only together with it.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(format!("{}/{started}", boot.trim()))
    } else {
        let output = Command::new("ps")
            .args(["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (state, started) = text.split_once(char::is_whitespace)?;
        (!state.starts_with('Z')).then(|| started.trim().to_owned())
    }
}

/// The start time (field 22) from a line of `/proc/<pid>/stat`. The command (field 2) may hold spaces and brackets.
fn start_ticks(stat: &str) -> Option<&str> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        None
    } else {
        fields.nth(18)
    }
}

/// The children of a process (on Linux: of its first thread, which is all that Postgres and `sh` have).
fn children(pid: i32) -> Vec<i32> {
    let text = if cfg!(target_os = "linux") {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    } else {
        Command::new("pgrep")
            .args(["-P", &pid.to_string()])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    };
    text.split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Signals one process; that it is gone already is no error.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone_already = kill_process(pid, signal);
    }
}

/// Signals a process and its children. It is stopped first, so that it makes no new child meanwhile.
pub(crate) fn signal_family(pid: i32, what: Signal) {
    signal(pid, Signal::STOP);
    for child in children(pid) {
        signal(child, what);
    }
    signal(pid, what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_identity_and_has_one_only_while_it_lives() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let first = identity(pid);
        assert!(first.is_some());
        assert_eq!(first, identity(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identity(pid), None);
    }

    #[test]
    fn a_command_with_brackets_does_not_shift_the_start_time() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(start_ticks(stat), Some("4242"));
        assert_eq!(
            start_ticks("7 (a) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9"),
            None
        );
    }
}
