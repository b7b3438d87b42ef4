//! The commit protocol, in every interleaving of small cases, and broken in every way that it must not be.
//!
//! Larger cases: `cargo test --release -p ticklake-core --test protocol -- --ignored --nocapture`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "what a search found is what it is for")]

mod state;
mod world;

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use world::{Broken, World};

/// One message whose rows lie in two partitions, two workers with an epoch each.
fn small() -> World {
    World {
        workers: 2,
        epochs: 1,
        messages: vec![BTreeSet::from([0, 1])],
        deliveries: 2,
        extensions: false,
        crashes: 1,
        broken: None,
    }
}

fn holds(name: &str, world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn two_workers_and_one_message_over_two_partitions() {
    holds("two workers", small());
}

#[test]
fn late_extensions() {
    holds("with extensions", World { extensions: true, ..small() });
}

#[test]
fn two_messages_that_share_a_partition() {
    let messages = vec![BTreeSet::from([0]), BTreeSet::from([0])];
    holds("two messages", World { messages, crashes: 0, ..small() });
}

#[test]
fn three_workers() {
    holds("three workers", World { workers: 3, deliveries: 3, messages: vec![BTreeSet::from([0])], ..small() });
}

#[test]
#[ignore = "takes minutes; CI runs the small cases"]
fn large_cases() {
    let one = small();
    holds("three workers, two partitions", World { workers: 3, deliveries: 3, crashes: 2, ..one.clone() });
    holds("two workers, two epochs each", World { epochs: 2, deliveries: 4, ..one.clone() });
    let messages = vec![BTreeSet::from([0, 1]), BTreeSet::from([1])];
    holds("two messages over two partitions", World { messages, ..one });
}

/// Finds and prints the shortest way to a violation of `property`.
fn is_caught(broken: Broken, property: &'static str, world: World) {
    let world = World { broken: Some(broken), ..world };
    // Depth by depth: a search that goes on beyond the first violation reports whichever it saw last.
    let traces = (1..40).find_map(|depth| {
        let checker = world.clone().checker().finish_when(HasDiscoveries::AnyFailures).target_max_depth(depth);
        checker.spawn_bfs().join().discovery(property)
    });
    println!("{broken:?} violates \"{property}\":");
    for action in traces.expect("it is caught").into_actions() {
        println!("  {action:?}");
    }
}

#[test]
fn storing_without_a_look_at_the_leases_is_caught() {
    is_caught(Broken::NoCheck, "never twice", small());
}

#[test]
fn replacing_a_void_is_caught() {
    is_caught(Broken::PlainPut, "never twice", small());
}

#[test]
fn deleting_before_storing_is_caught() {
    is_caught(Broken::DeleteFirst, "no deletion before durability", small());
}

#[test]
fn taking_rows_without_a_void_is_caught() {
    is_caught(Broken::NoVoids, "never twice", small());
}

#[test]
fn removing_the_entry_after_a_stale_delete_is_caught() {
    is_caught(Broken::EntryRemovedAfterStaleDelete, "never twice", small());
}

#[test]
fn trusting_an_extension_that_was_answered_late_is_caught() {
    is_caught(Broken::LateExtensionTrusted, "never twice", World { extensions: true, ..small() });
}
