//! Whether a store keeps exactly one of several objects that are put under one name at the same time.
//!
//! Exactly once depends on that. A test with one writer after another does not show it: a store that first looks and
//! then writes passes it, but lets several concurrent writers succeed. `ticklake check` and the engine's own proof both
//! ask here. This file does *not* decide what a failure means for a run.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use ticklake_core::commit::CONTRADICTIONS_MAX;
use tokio::time::Instant;

use crate::ports::{Failure, NewObject, ObjectKind, ObjectStore, PortError, PutOutcome};
use crate::retry::{Backoff, Failing};

/// Writers at a time, each with a body of its own.
pub(crate) const WRITERS: usize = 8;

/// Names that they compete for, one after the other. A store that is not atomic fails in the first or second round.
pub(crate) const ROUNDS: usize = 4;

/// Rounds that may decide nothing, because the winner's answer was lost.
const LOST_ROUNDS_MAX: usize = 2 * ROUNDS;

/// The larger the body, the longer the time between a store's look and its write.
const BODY_BYTES: usize = 16 << 10;

/// The epoch in the metadata of a probe's objects. They are voids, because the metadata of voids counts.
const EPOCH: &str = "probe";

/// How long the probe tries to remove its objects.
const REMOVAL: Duration = Duration::from_secs(5);

/// Why a store is not proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The store took no object.
    #[error(transparent)]
    Put(PortError),
    /// The store gave no object.
    #[error(transparent)]
    Get(PortError),
    /// The store took more than one, or another one than it said.
    #[error(
        "the store cannot keep two workers from storing the same rows: {0}; take another store, or set lake.delivery = \
         \"at-least-once\""
    )]
    Doubled(String),
    /// The store loses the metadata of an object.
    #[error(
        "the store does not keep metadata of objects (x-amz-meta-*), which tell a void from a file; take another \
         store, or set lake.delivery = \"at-least-once\""
    )]
    Forgets,
    /// The store refuses names that nobody has used.
    #[error("the store refuses new objects: {0}; If-None-Match does not work there, and ticklake needs it")]
    Refused(String),
}

impl From<ProbeError> for PortError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Put(error) | ProbeError::Get(error) => error,
            other => {
                let text = other.to_string();
                Self::Stop(Failure { action: "store exactly once", text, source: Some(other.into()) })
            }
        }
    }
}

/// The result of a probe.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) result: Result<(), ProbeError>,
    /// Why objects of the probe could not be removed, if some are left.
    pub(crate) left: Option<PortError>,
}

/// Lets writers compete for names that begin with `name`. Repeats calls that may succeed later, for `patience`.
pub(crate) async fn probe(store: &dyn ObjectStore, name: &str, patience: Duration) -> Probed {
    let mut used = 0;
    let result = rounds(store, name, patience, &mut used).await;
    let keys: Vec<String> = (0..used).map(|nth| key(name, nth)).collect();
    Probed { result, left: remove(store, &keys).await }
}

fn key(name: &str, nth: usize) -> String {
    format!("{name}-{nth}")
}

/// Plays the rounds, each for a name of its own. Counts the names in `used`.
async fn rounds(store: &dyn ObjectStore, name: &str, patience: Duration, used: &mut usize) -> Result<(), ProbeError> {
    let (mut decided, mut lost) = (0, 0);
    let (mut failing, mut began) = (Failing::default(), Instant::now());
    while decided < ROUNDS && lost < LOST_ROUNDS_MAX {
        *used = decided + lost + 1;
        match round(store, &key(name, decided + lost)).await {
            Ok(true) => decided += 1,
            Ok(false) => lost += 1,
            // The next try uses the same name. If a failed call has stored something there, the round is lost.
            Err(ProbeError::Put(error) | ProbeError::Get(error)) if !error.is_final() && began.elapsed() < patience => {
                failing.wait(&error, None).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        (failing, began) = (Failing::default(), Instant::now());
    }
    if decided > 0 {
        return keeps_metadata(store, &key(name, decided + lost - 1)).await;
    }
    let text = format!("{lost} times, none of {WRITERS} concurrent PUTs of a new name was told that it had succeeded");
    Err(ProbeError::Refused(text))
}

/// Returns whether one writer was told that it has won, and the others that they have not.
async fn round(store: &dyn ObjectStore, key: &str) -> Result<bool, ProbeError> {
    let body = |writer: usize| Bytes::from(vec![b'a' + writer as u8; BODY_BYTES]);
    let outcomes = join_all((0..WRITERS).map(|writer| put(store, key, body(writer)))).await;
    let winners: Vec<usize> = (0..WRITERS).filter(|&at| matches!(outcomes[at], Ok(PutOutcome::Created))).collect();
    let answers = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    if winners.len() > 1 {
        let text = format!("{} of {answers} concurrent PUTs with If-None-Match succeeded", winners.len());
        return Err(ProbeError::Doubled(text));
    }
    // Two answers decide a round. A writer whose call failed may still have won; then nobody else has.
    let error = outcomes.into_iter().filter_map(Result::err).max_by_key(PortError::is_final);
    if let Some(error) = error.filter(|error| answers < 2 || error.is_final()) {
        return Err(ProbeError::Put(error));
    }
    let stored = store.get(key).await.map_err(ProbeError::Get)?;
    match (stored, winners.first()) {
        (Some(stored), Some(&winner)) if stored == body(winner) => Ok(true),
        (Some(_), Some(_)) => {
            let text = format!(
                "one of {answers} concurrent PUTs with If-None-Match succeeded, but another one's bytes are there"
            );
            Err(ProbeError::Doubled(text))
        }
        (None, Some(_)) => Err(ProbeError::Doubled(format!("a PUT of {key} succeeded, and nothing is there"))),
        // The winner's answer was lost, and its next try was refused.
        (Some(_), None) => Ok(false),
        (None, None) if answers < WRITERS => Ok(false),
        (None, None) => {
            Err(ProbeError::Refused(format!("{answers} of {answers} PUTs of {key} were refused, and nothing is there")))
        }
    }
}

/// Checks that the metadata of the last round's object are kept.
async fn keeps_metadata(store: &dyn ObjectStore, key: &str) -> Result<(), ProbeError> {
    let found = store.head(key).await.map_err(ProbeError::Get)?;
    let is_known = found.is_some_and(|found| found.is_void && found.epoch.as_deref() == Some(EPOCH));
    if is_known { Ok(()) } else { Err(ProbeError::Forgets) }
}

/// Puts for one writer. After a conflict it tries again, as S3 asks for.
async fn put(store: &dyn ObjectStore, key: &str, body: Bytes) -> Result<PutOutcome, PortError> {
    let mut backoff = Backoff::default();
    for _ in 1..CONTRADICTIONS_MAX {
        let object = NewObject { key, body: body.clone(), epoch: EPOCH, kind: ObjectKind::Void };
        match store.put_new(object).await? {
            PutOutcome::Conflict => tokio::time::sleep(backoff.next_wait()).await,
            outcome => return Ok(outcome),
        }
    }
    Ok(PutOutcome::Exists)
}

/// Removes what the probe has stored. Returns the error if something is left.
async fn remove(store: &dyn ObjectStore, keys: &[String]) -> Option<PortError> {
    let removals = tokio::time::timeout(REMOVAL, join_all(keys.iter().map(|key| store.delete(key))));
    match removals.await {
        Ok(removed) => removed.into_iter().find_map(Result::err),
        Err(_) => Some(PortError::retry("delete object", "no answer in time".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::ports::Found;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Flaw {
        None,
        /// It looks, and then it writes.
        LooksFirst,
        /// It tells one writer that it has won, and keeps the bytes of another.
        KeepsTheLast,
        /// Each first answer to a PUT is a conflict.
        Conflicts,
        /// The first answers are lost, and the tries after them are refused.
        LosesAnswers,
        /// Most calls fail.
        Fails,
        /// Every PUT is refused.
        Refuses,
        /// It loses metadata.
        Forgets,
    }

    struct Flawed {
        store: MemoryStore,
        flaw: Flaw,
        puts: AtomicUsize,
    }

    impl Flawed {
        fn new(flaw: Flaw) -> Self {
            Self { store: MemoryStore::default(), flaw, puts: AtomicUsize::new(0) }
        }
    }

    #[async_trait]
    impl ObjectStore for Flawed {
        async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
            let nth = self.puts.fetch_add(1, Ordering::SeqCst);
            match self.flaw {
                Flaw::LooksFirst => {
                    let found = self.store.head(object.key).await?;
                    tokio::task::yield_now().await;
                    if found.is_some() {
                        return Ok(PutOutcome::Exists);
                    }
                    self.store.delete(object.key).await?;
                }
                Flaw::KeepsTheLast => {
                    let is_first = self.store.head(object.key).await?.is_none();
                    self.store.delete(object.key).await?;
                    self.store.put_new(object).await?;
                    return Ok(if is_first { PutOutcome::Created } else { PutOutcome::Exists });
                }
                Flaw::Conflicts if nth < WRITERS => return Ok(PutOutcome::Conflict),
                Flaw::LosesAnswers if nth < 2 * WRITERS => {
                    self.store.put_new(object).await?;
                    return Ok(PutOutcome::Exists);
                }
                Flaw::Fails if nth % 8 > 2 => {
                    return Err(PortError::retry("put object", "on purpose".to_owned()));
                }
                Flaw::Refuses => return Ok(PutOutcome::Exists),
                _ => {}
            }
            self.store.put_new(object).await
        }

        async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
            let found = self.store.head(key).await?;
            let forgotten = Found { epoch: None, is_void: false };
            Ok(found.map(|found| if self.flaw == Flaw::Forgets { forgotten } else { found }))
        }

        async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
            self.store.list(prefix).await
        }

        async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
            self.store.get(key).await
        }

        async fn delete(&self, key: &str) -> Result<(), PortError> {
            self.store.delete(key).await
        }
    }

    async fn probed(flaw: Flaw) -> Result<(), ProbeError> {
        let store = Flawed::new(flaw);
        let probed = probe(&store, "lake/.probe", Duration::from_secs(5)).await;
        assert!(probed.left.is_none() && store.store.objects().is_empty(), "{flaw:?} leaves nothing behind");
        probed.result
    }

    #[tokio::test]
    async fn store_that_looks_before_it_writes_passes_one_writer_after_the_other_and_is_refused() {
        let store = Flawed::new(Flaw::LooksFirst);
        for outcome in [PutOutcome::Created, PutOutcome::Exists] {
            assert_eq!(put(&store, "a", Bytes::from_static(b"x")).await.unwrap(), outcome);
        }
        let error = probed(Flaw::LooksFirst).await.unwrap_err();
        assert!(matches!(error, ProbeError::Doubled(_)));
        let text = error.to_string();
        assert!(text.contains("8 of 8 concurrent PUTs with If-None-Match succeeded"), "{text}");
        assert!(text.contains("at-least-once") && text.contains("another store"), "{text}");
    }

    #[tokio::test]
    async fn store_that_keeps_the_bytes_of_a_loser_is_refused() {
        let error = probed(Flaw::KeepsTheLast).await.unwrap_err();
        assert!(matches!(error, ProbeError::Doubled(_)), "{error}");
    }

    #[tokio::test]
    async fn store_that_refuses_every_name_is_refused() {
        let error = probed(Flaw::Refuses).await.unwrap_err();
        assert!(matches!(error, ProbeError::Refused(_)), "{error}");
    }

    #[tokio::test]
    async fn store_that_loses_metadata_is_refused() {
        let error = probed(Flaw::Forgets).await.unwrap_err();
        assert!(matches!(error, ProbeError::Forgets), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn conflicts_lost_answers_and_failures_do_not_condemn_a_store() {
        for flaw in [Flaw::None, Flaw::Conflicts, Flaw::LosesAnswers, Flaw::Fails] {
            probed(flaw).await.unwrap();
        }
    }
}
