//! The cases in which the protocol is searched for a violation, and the ways to break it that have to be found.

mod state;
mod world;

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use world::{Broken, World};

/// A case, by its name.
pub struct Case {
    /// What is in it.
    pub name: &'static str,
    world: World,
}

/// What the search of a case came to.
pub struct Searched {
    /// The different states that it can get into.
    pub states: usize,
    /// The most steps from the beginning.
    pub depth: usize,
    /// The property that does not hold and the steps to where it does not; or that holds nowhere, and no step.
    pub violation: Option<(&'static str, Vec<String>)>,
}

/// A protocol that is broken in one way.
pub struct Variant {
    /// How it is broken.
    pub name: String,
    /// What does not hold then.
    pub property: &'static str,
    world: World,
}

/// One message whose rows lie in two partitions, two workers with an epoch each.
fn small() -> World {
    World {
        workers: 2,
        epochs: 1,
        messages: vec![BTreeSet::from([0, 1])],
        deliveries: 2,
        extensions: false,
        crashes: 1,
        stops: true,
        broken: None,
    }
}

/// The cases that are searched on every change: seconds.
pub fn small_cases() -> Vec<Case> {
    let (one, rows) = (small(), vec![BTreeSet::from([0])]);
    let shared = vec![BTreeSet::from([0]), BTreeSet::from([0])];
    vec![
        Case { name: "two workers, a message over two partitions", world: one.clone() },
        Case { name: "the same with extensions", world: World { extensions: true, ..one.clone() } },
        Case {
            name: "two messages that share a partition",
            world: World { messages: shared, crashes: 0, stops: false, ..one.clone() },
        },
        Case {
            name: "three workers",
            world: World { workers: 3, deliveries: 3, messages: rows.clone(), crashes: 0, ..one.clone() },
        },
        Case {
            name: "one worker that is given what it still holds",
            world: World { workers: 1, epochs: 3, deliveries: 3, crashes: 0, ..one.clone() },
        },
        Case { name: "two workers, two epochs each", world: World { epochs: 2, deliveries: 3, messages: rows, ..one } },
    ]
}

/// The cases that take minutes.
pub fn large_cases() -> Vec<Case> {
    let one = small();
    let overlapping = vec![BTreeSet::from([0, 1]), BTreeSet::from([1])];
    vec![
        Case {
            name: "three workers, a message over two partitions",
            world: World { workers: 3, deliveries: 3, crashes: 2, ..one.clone() },
        },
        Case {
            name: "two workers, two epochs each, a message over two partitions",
            world: World { epochs: 2, deliveries: 3, stops: false, ..one.clone() },
        },
        Case { name: "two messages over two partitions", world: World { messages: overlapping, stops: false, ..one } },
    ]
}

/// The ways to break the protocol. Each has to be found out.
pub fn variants() -> Vec<Variant> {
    let twice = "never twice";
    let two = small();
    let three = World { workers: 3, deliveries: 3, messages: vec![BTreeSet::from([0])], ..small() };
    let extended = World { extensions: true, ..small() };
    [
        (Broken::NoCheck, twice, two.clone()),
        (Broken::PlainPut, twice, two.clone()),
        (Broken::DeleteFirst, "no deletion before durability", two.clone()),
        (Broken::NoVoids, twice, two.clone()),
        (Broken::EntryRemovedAfterStaleDelete, twice, two.clone()),
        (Broken::LateExtensionTrusted, twice, extended),
        (Broken::LateRelease, twice, three),
        (Broken::OtherPartitions, twice, two.clone()),
        (Broken::EntryTrusted, "never lost", two),
    ]
    .into_iter()
    .map(|(broken, property, world)| Variant {
        name: format!("{broken:?}"),
        property,
        world: World { broken: Some(broken), ..world },
    })
    .collect()
}

impl Case {
    /// Goes through every state.
    pub fn search(self) -> Searched {
        let checker = self.world.checker().threads(2).spawn_bfs().join();
        let failed = checker.model().properties().into_iter().find_map(|property| {
            let found = checker.discovery(property.name);
            let holds = found.is_some() == matches!(property.expectation, stateright::Expectation::Sometimes);
            let steps = || found.map(|path| path.into_actions().iter().map(|step| format!("{step:?}")).collect());
            (!holds).then(|| (property.name, steps().unwrap_or_default()))
        });
        Searched { states: checker.unique_state_count(), depth: checker.max_depth(), violation: failed }
    }
}

impl Variant {
    /// The shortest way to what does not hold, if it is found.
    pub fn trace(self) -> Option<Vec<String>> {
        let mut shortest = self.search(usize::MAX)?;
        // A search goes on for a while beyond the first violation.
        while let Some(shorter) = self.search(shortest.len()) {
            shortest = shorter;
        }
        Some(shortest)
    }

    /// A way of less than `steps` steps.
    fn search(&self, steps: usize) -> Option<Vec<String>> {
        let wanted = HasDiscoveries::AnyOf(BTreeSet::from([self.property]));
        // The state at the beginning is at depth 1, and those at the target are not looked at.
        let depth = steps.saturating_add(1);
        let checker = self.world.clone().checker().finish_when(wanted).target_max_depth(depth).spawn_bfs().join();
        let trace = checker.discovery(self.property)?;
        Some(trace.into_actions().iter().map(|step| format!("{step:?}")).collect())
    }
}
