//! The cases that are searched for a violation of the protocol, and the ways to break it that the search must find.

mod alerts;
mod state;
mod world;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker as _, HasDiscoveries, Model};

use alerts::Alerts;
use world::{Broken, Decoded, QUARANTINE, World};

/// A case and its name.
pub struct Case {
    /// What the case contains.
    pub name: &'static str,
    searched: Box<dyn FnOnce() -> Searched>,
}

/// The result of searching a case.
pub struct Searched {
    /// How many different states the case has.
    pub states: usize,
    /// The most steps from the start to a state.
    pub depth: usize,
    /// A property that does not hold, and the steps to its violation. No steps if a state that must occur does not.
    pub violation: Option<(&'static str, Vec<String>)>,
}

/// The protocol, broken in one way.
pub struct Variant {
    /// How it is broken.
    pub name: String,
    /// The property that does not hold then.
    pub property: &'static str,
    search: Box<dyn Fn(&'static str, usize) -> Option<Vec<String>>>,
}

/// A message that all workers decode in the same way, into rows of these partitions.
fn rows(partitions: &[u8]) -> Vec<Decoded> {
    vec![Decoded::parts(partitions)]
}

/// One message with rows in two partitions, and two workers with one epoch each.
fn small() -> World {
    World {
        workers: 2,
        epochs: 1,
        messages: vec![rows(&[0, 1])],
        deliveries: 2,
        extensions: false,
        crashes: 1,
        copies: 0,
        moves: false,
        stops: true,
        broken: None,
    }
}

/// A message of three ticks. One way of decoding puts them into an hour, the other way into quarantine and another
/// hour.
fn decoded_differently() -> World {
    let ways = vec![Decoded::parts(&[0, QUARANTINE, 2]), Decoded::parts(&[0, 0, 1])];
    World { messages: vec![ways], crashes: 0, stops: false, ..small() }
}

/// A message that the other way of decoding cannot split.
fn split_differently() -> World {
    World { messages: vec![vec![Decoded::parts(&[0, 1]), Decoded::whole(2)]], ..decoded_differently() }
}

/// One worker, which receives copies of messages that it holds.
fn copied() -> World {
    World { workers: 1, epochs: 2, deliveries: 2, copies: 1, crashes: 0, messages: vec![rows(&[0])], ..small() }
}

/// The cases that are searched on every change. They take seconds.
pub fn small_cases() -> Vec<Case> {
    let (one, hour) = (small(), vec![rows(&[0])]);
    let shared = vec![rows(&[0]), rows(&[0])];
    vec![
        case("two workers, a message over two partitions", one.clone()),
        case("the same with extensions", World { extensions: true, ..one.clone() }),
        case(
            "two messages that share a partition",
            World { messages: shared, crashes: 0, stops: false, ..one.clone() },
        ),
        case("three workers", World { workers: 3, deliveries: 3, messages: hour.clone(), crashes: 0, ..one.clone() }),
        case("one worker that freezes", World { workers: 1, epochs: 3, deliveries: 3, crashes: 0, ..one.clone() }),
        case("one worker that is handed copies of what it holds", copied()),
        case("two workers that decode a message differently", decoded_differently()),
        case("two workers that split a message differently", split_differently()),
        case("a dead-letter queue that forgets its counts", World { moves: true, ..one.clone() }),
        case("an alert of two workers that may die", Alerts { workers: 2, epochs: 2, crashes: 1, broken: None }),
        case("two workers, two epochs each", World { epochs: 2, deliveries: 3, messages: hour, ..one }),
    ]
}

/// The cases that take minutes.
pub fn large_cases() -> Vec<Case> {
    let one = small();
    let overlapping = vec![rows(&[0, 1]), rows(&[1])];
    vec![
        case(
            "three workers, a message over two partitions",
            World { workers: 3, deliveries: 3, crashes: 2, ..one.clone() },
        ),
        case(
            "two workers, two epochs each, a message over two partitions",
            World { epochs: 2, deliveries: 3, stops: false, ..one.clone() },
        ),
        case(
            "three workers that decode a message differently",
            World { workers: 3, deliveries: 3, ..decoded_differently() },
        ),
        case(
            "three workers that split a message differently",
            World { workers: 3, deliveries: 3, ..split_differently() },
        ),
        case(
            "two workers, copies and a dead-letter queue",
            World { copies: 1, moves: true, stops: false, deliveries: 3, ..one.clone() },
        ),
        case("an alert of three workers that may die", Alerts { workers: 3, epochs: 2, crashes: 2, broken: None }),
        case("two messages over two partitions", World { messages: overlapping, stops: false, ..one }),
    ]
}

/// The ways to break the protocol. The search must find each of them.
pub fn variants() -> Vec<Variant> {
    let twice = "never twice";
    let two = small();
    let three = World { workers: 3, deliveries: 3, messages: vec![rows(&[0])], ..small() };
    let extended = World { extensions: true, ..small() };
    let dead_letters = World { moves: true, messages: vec![rows(&[0])], ..small() };
    [
        (Broken::NoCheck, twice, two.clone()),
        (Broken::PlainPut, twice, two.clone()),
        (Broken::DeleteFirst, "no deletion before durability", two.clone()),
        (Broken::NoVoids, twice, two.clone()),
        (Broken::EntryRemovedAfterStaleDelete, twice, two.clone()),
        (Broken::LateExtensionTrusted, twice, extended),
        (Broken::LateRelease, twice, three),
        (Broken::OtherPartitions, "no deletion before durability", decoded_differently()),
        (Broken::HoldingsForgotten, twice, copied()),
        (Broken::CopiesIgnored, twice, copied()),
        (Broken::DeadLettersForgotten, twice, dead_letters),
        (Broken::StoreNotAtomic, twice, two.clone()),
        (Broken::EntryTrusted, "never lost", two),
    ]
    .into_iter()
    .map(|(broken, property, world)| variant(format!("{broken:?}"), property, World { broken: Some(broken), ..world }))
    .chain(variants_of_alerts())
    .collect()
}

fn variants_of_alerts() -> impl Iterator<Item = Variant> {
    let two = Alerts { workers: 2, epochs: 2, crashes: 1, broken: None };
    let (once, stored) = ("stored once at most", "published and so stored");
    [
        (alerts::Broken::LostWithMessage, stored),
        (alerts::Broken::PublishedFirst, stored),
        (alerts::Broken::StoredFirst, "stored and so published"),
        (alerts::Broken::NoteRemovedEarly, stored),
        (alerts::Broken::ClaimTrusted, stored),
        (alerts::Broken::NoClaims, once),
    ]
    .into_iter()
    .map(move |(broken, property)| {
        variant(format!("alerts: {broken:?}"), property, Alerts { broken: Some(broken), ..two.clone() })
    })
}

/// A model that the checker can search.
trait Searchable:
    Model<State: Clone + PartialEq + Hash + Send + Sync + 'static, Action: Clone + PartialEq + Debug + Send + Sync>
    + Send
    + Sync
    + 'static
{
}

impl<M> Searchable for M where
    M: Model<State: Clone + PartialEq + Hash + Send + Sync + 'static, Action: Clone + PartialEq + Debug + Send + Sync>
        + Send
        + Sync
        + 'static
{
}

fn case<M>(name: &'static str, world: M) -> Case
where
    M: Searchable,
{
    Case { name, searched: Box::new(move || searched(world)) }
}

fn variant<M>(name: String, property: &'static str, world: M) -> Variant
where
    M: Searchable + Clone,
{
    Variant { name, property, search: Box::new(move |property, steps| search(&world, property, steps)) }
}

impl Case {
    /// Searches all states of the case.
    pub fn search(self) -> Searched {
        (self.searched)()
    }
}

fn searched<M>(world: M) -> Searched
where
    M: Searchable,
{
    let checker = world.checker().threads(2).spawn_bfs().join();
    let failed = checker.model().properties().into_iter().find_map(|property| {
        let found = checker.discovery(property.name);
        let holds = found.is_some() == matches!(property.expectation, stateright::Expectation::Sometimes);
        let steps = || found.map(|path| path.into_actions().iter().map(|step| format!("{step:?}")).collect());
        (!holds).then(|| (property.name, steps().unwrap_or_default()))
    });
    Searched { states: checker.unique_state_count(), depth: checker.max_depth(), violation: failed }
}

impl Variant {
    /// The shortest way to a state that violates the property, if there is one.
    pub fn trace(self) -> Option<Vec<String>> {
        let mut shortest = (self.search)(self.property, usize::MAX)?;
        // A search continues for a while after the first violation.
        while let Some(shorter) = (self.search)(self.property, shortest.len()) {
            shortest = shorter;
        }
        Some(shortest)
    }
}

/// A way of fewer than `steps` steps to a state that violates `property`.
fn search<M>(world: &M, property: &'static str, steps: usize) -> Option<Vec<String>>
where
    M: Searchable + Clone,
{
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    // The first state has depth 1, and states at the target depth are not checked.
    let depth = steps.saturating_add(1);
    let checker = world.clone().checker().finish_when(wanted).target_max_depth(depth).spawn_bfs().join();
    let trace = checker.discovery(property)?;
    Some(trace.into_actions().iter().map(|step| format!("{step:?}")).collect())
}
