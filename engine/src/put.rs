//! Conditional PUTs, and what to do after each answer of a store.
//!
//! [`ticklake_core::commit`] decides what an answer means. This file executes that for objects that only one epoch may
//! put. It owns the waits between tries and the texts of the errors.

use ticklake_core::commit::{CONTRADICTIONS_MAX, Fate, OwnLook, OwnPut, OwnPutStep};
use tracing::info;

use crate::ports::{NewObject, ObjectKind, ObjectStore, PortError, PutOutcome};
use crate::retry::{Backoff, GaveUp, retry};
use crate::stop::Stop;

/// The waits between tries that the store refuses without a visible reason.
pub(crate) struct Tries<'a> {
    stop: &'a Stop,
    backoff: Option<Backoff>,
}

impl<'a> Tries<'a> {
    /// No try so far.
    pub(crate) fn new(stop: &'a Stop) -> Self {
        Self { stop, backoff: None }
    }

    /// Waits before each try except the first.
    pub(crate) async fn wait(&mut self) -> Result<(), GaveUp> {
        let Some(backoff) = &mut self.backoff else {
            self.backoff = Some(Backoff::default());
            return Ok(());
        };
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => Ok(()),
            () = self.stop.commit_by() => Err(GaveUp::TimeIsUp),
        }
    }
}

/// Puts an object under a name that no other epoch ever uses. Afterwards the object is there, or a void.
pub(crate) async fn put_own(store: &dyn ObjectStore, object: NewObject<'_>, stop: &Stop) -> Result<Fate, GaveUp> {
    let mut tries = Tries::new(stop);
    let mut put = OwnPut::default();
    loop {
        match put.step() {
            OwnPutStep::Put => {
                tries.wait().await?;
                let outcome = retry(stop.commit_by(), || store.put_new(object.clone())).await?;
                put.put(outcome == PutOutcome::Created);
            }
            OwnPutStep::Look => {
                let look = look(store, &object, stop).await?;
                if look == OwnLook::Ours {
                    info!(key = object.key, "object exists already, from an attempt whose answer was lost");
                }
                put.looked(look);
            }
            OwnPutStep::Done(fate) => return Ok(fate),
            OwnPutStep::Taken => return Err(taken(&object)),
            OwnPutStep::Contradicted => return Err(contradicted(object.key)),
        }
    }
}

/// What is in the place of `object`. If an entry's metadata do not name our epoch, it is ours if its bytes are ours.
async fn look(store: &dyn ObjectStore, object: &NewObject<'_>, stop: &Stop) -> Result<OwnLook, GaveUp> {
    let Some(found) = retry(stop.commit_by(), || store.head(object.key)).await? else { return Ok(OwnLook::Nothing) };
    if found.is_void {
        return Ok(if object.kind == ObjectKind::Data { OwnLook::Void } else { OwnLook::Other });
    }
    if found.epoch.as_deref() == Some(object.epoch) {
        return Ok(OwnLook::Ours);
    }
    if object.kind != ObjectKind::Entry {
        return Ok(OwnLook::Other);
    }
    let bytes = retry(stop.commit_by(), || store.get(object.key)).await?;
    Ok(match bytes {
        None => OwnLook::Nothing,
        Some(bytes) if bytes == object.body => OwnLook::Ours,
        Some(_) => OwnLook::Other,
    })
}

fn taken(object: &NewObject<'_>) -> GaveUp {
    let NewObject { key, epoch, .. } = object;
    let text =
        format!("{key} is there already, and epoch {epoch} did not put it; nobody else may write below `lake.prefix`");
    GaveUp::Stop(PortError::stop("store an object", text))
}

/// The store refuses PUTs of `key` and shows no object there.
pub(crate) fn contradicted(key: &str) -> GaveUp {
    let text = format!(
        "{key}: the store refused {CONTRADICTIONS_MAX} PUTs because of an object that it does not show; some stores \
         refuse a name that is the folder of other objects, or that lies below an object: remove those, or set another \
         `lake.prefix`"
    );
    GaveUp::Stop(PortError::stop("store an object", text))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::ports::Found;

    /// A store that refuses some PUTs, and shows nothing where it has refused them.
    pub(crate) struct Refusing {
        pub(crate) store: MemoryStore,
        /// How: s3proxy and `SeaweedFS` say that there is an object, versitygw says that there is a conflict.
        pub(crate) answer: PutOutcome,
        /// How many PUTs it refuses.
        pub(crate) refusals: usize,
        pub(crate) puts: AtomicUsize,
        /// Objects lose their metadata.
        pub(crate) forgets: bool,
    }

    impl Refusing {
        pub(crate) fn new(answer: PutOutcome, refusals: usize) -> Self {
            Self { store: MemoryStore::default(), answer, refusals, puts: AtomicUsize::new(0), forgets: false }
        }
    }

    #[async_trait]
    impl ObjectStore for Refusing {
        async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
            // The PUTs of the proof, which comes before an epoch's entry, do not count.
            if !object.key.contains(".proof-") && self.puts.fetch_add(1, Ordering::SeqCst) < self.refusals {
                return Ok(self.answer);
            }
            self.store.put_new(object).await
        }

        async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
            let found = self.store.head(key).await?;
            let forgotten = Found { epoch: None, is_void: false };
            Ok(found.map(|found| if self.forgets { forgotten } else { found }))
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

    /// Asserts that `call` ends within a minute, with an error that ends the run and names `key`.
    pub(crate) async fn assert_ends<T: std::fmt::Debug>(key: &str, call: impl Future<Output = Result<T, GaveUp>>) {
        let ended = tokio::time::timeout(Duration::from_mins(1), call).await.expect("it does not try for ever");
        match ended {
            Err(GaveUp::Stop(error)) => {
                let text = error.to_string();
                assert!(text.contains(key) && text.contains("lake.prefix"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn object(key: &str, kind: ObjectKind) -> NewObject<'_> {
        NewObject { key, body: Bytes::from_static(b"bytes"), epoch: "w-1", kind }
    }

    fn stop() -> Stop {
        Stop::new(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn name_that_is_refused_over_nothing_ends_the_run_and_is_named() {
        for answer in [PutOutcome::Exists, PutOutcome::Conflict] {
            for kind in [ObjectKind::Data, ObjectKind::Entry] {
                let store = Refusing::new(answer, usize::MAX);
                assert_ends("lake/a", put_own(&store, object("lake/a", kind), &stop())).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn conflict_that_passes_is_tried_again() {
        let store = Refusing::new(PutOutcome::Conflict, 3);
        let fate = put_own(&store, object("lake/a", ObjectKind::Data), &stop()).await.unwrap();
        assert_eq!((fate, store.puts.load(Ordering::SeqCst)), (Fate::Stored, 4));
    }

    #[tokio::test]
    async fn earlier_attempt_and_void_are_known_and_nothing_else_is_taken_for_them() {
        let put = async |there: NewObject<'_>, ours: NewObject<'_>, forgets: bool| {
            let store = Refusing { forgets, ..Refusing::new(PutOutcome::Exists, 0) };
            store.put_new(there).await.unwrap();
            put_own(&store, ours, &stop()).await
        };
        let of = |kind| object("lake/a", kind);
        for kind in [ObjectKind::Data, ObjectKind::Entry] {
            assert_eq!(put(of(kind), of(kind), false).await.unwrap(), Fate::Stored, "the answer was lost");
            let foreign = NewObject { epoch: "w-2", body: Bytes::from_static(b"other"), ..of(kind) };
            assert_ends("lake/a", put(foreign.clone(), of(kind), false)).await;
            assert_ends("lake/a", put(foreign, of(kind), true)).await;
        }
        assert_eq!(
            put(of(ObjectKind::Entry), of(ObjectKind::Entry), true).await.unwrap(),
            Fate::Stored,
            "the same bytes"
        );
        assert_eq!(put(of(ObjectKind::Void), of(ObjectKind::Data), false).await.unwrap(), Fate::Voided);
        assert_ends("lake/a", put(of(ObjectKind::Void), of(ObjectKind::Entry), false)).await;
    }
}
