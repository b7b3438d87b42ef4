//! Instructions of a process, counted by valgrind. CPU time varies by more than the differences that the checks look
//! for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

/// Valgrind's processor has no SHA extension. With it, SHA-256 takes a twentieth of the instructions of these
/// functions.
const LEFT_OUT: &str = "sha2::sha256::soft";

/// `command` under valgrind, about fifty times slower. Valgrind leaves its counts in the file `out`.
pub(crate) fn counted(command: &Command, out: &Path) -> Command {
    let mut counted = Command::new("valgrind");
    counted.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    counted.arg(command.get_program()).args(command.get_args());
    counted.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    counted
}

/// The instructions that were counted, without those of SHA-256.
pub(crate) fn instructions(out: &Path) -> anyhow::Result<u64> {
    let counts = std::fs::read_to_string(out).context("failed to read what valgrind has counted; is it installed?")?;
    Ok(count(&counts))
}

/// Adds up a file in [callgrind's format](https://valgrind.org/docs/manual/cl-format.html). `fn=(ID) NAME` begins a
/// function, and has the name the first time only. A line of two numbers is a position and a cost. The cost after
/// `calls=` belongs to the called function.
fn count(counts: &str) -> u64 {
    let mut names: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut total, mut is_left_out, mut is_call) = (0, false, false);
    for line in counts.lines() {
        let function = ["fn=", "cfn="].iter().find_map(|prefix| Some((prefix, line.strip_prefix(prefix)?)));
        if let Some((prefix, function)) = function {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            let known = names.entry(id).or_insert_with(|| name.contains(LEFT_OUT));
            if *prefix == "fn=" {
                is_left_out = *known;
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost: u64 = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0);
            if !std::mem::take(&mut is_call) && !is_left_out {
                total += cost;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_costs_are_added_up_but_for_sha() {
        let counts = "# callgrind format\nversion: 1\nevents: Ir\n\nfn=(1) main\n16 400\ncfn=(2) sha2::sha256::soft::compress\n\
                      calls=1 50\n+3 1000\n* 7\n\nfn=(2)\n50 1000\n\nfn=(3) other\n-2 20\ntotals: 1427\n";
        assert_eq!(count(counts), 427);
    }
}
