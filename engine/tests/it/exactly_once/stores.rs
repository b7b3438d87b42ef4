//! Tests stores that do not keep the first of several objects of one name, or that refuse names without a reason.

use super::*;

/// How a store decides wrongly between two objects of one name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// It takes the second for a new one, and overwrites the first.
    Overwrites,
    /// It looks whether there is one, and then writes. Writers that come one after another get the right answer, but
    /// several at once all win.
    LooksFirst,
}

/// A store with a flaw.
struct Flawed(MemoryStore, Flaw);

#[async_trait]
impl ObjectStore for Flawed {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        if self.1 == Flaw::LooksFirst {
            let found = self.0.head(object.key).await?;
            tokio::task::yield_now().await;
            if found.is_some() {
                return Ok(PutOutcome::Exists);
            }
        }
        self.0.delete(object.key).await?;
        self.0.put_new(object).await
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.0.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.0.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_without_atomic_conditional_writes_is_refused_unless_less_is_asked_of_it() {
    let deliveries = [Delivery::ExactlyOnce, Delivery::AtLeastOnce];
    for (flaw, delivery) in
        [Flaw::Overwrites, Flaw::LooksFirst].into_iter().flat_map(|flaw| deliveries.map(|how| (flaw, how)))
    {
        let world = World::new();
        let mut settings = (*config()).clone();
        settings.lake.delivery = delivery;
        let config = settings.validate().unwrap();
        let store = Arc::new(Flawed(MemoryStore::default(), flaw));
        let ports = Ports { store: store.clone(), ..world.ports() };
        let options = RunOptions { drain: true };
        let run = run(ports, &config, options, Meters::new(&config), std::future::pending());
        let ended = tokio::time::timeout(MINUTE, run).await.expect("it ends");
        let stored = lake::ticks(&store.0.objects()).len();
        if delivery == Delivery::ExactlyOnce {
            let error = ended.unwrap_err().to_string();
            assert!(error.contains("concurrent PUTs with If-None-Match") && error.contains("at-least-once"), "{error}");
            assert_eq!(stored, 0, "{flaw:?}");
        } else {
            ended.unwrap();
            assert_eq!(stored, MESSAGES * 10, "{flaw:?}");
        }
    }
}

/// A store that refuses the names of data files, as if they were taken.
struct RefusingFiles(Arc<MemoryStore>);

#[async_trait]
impl ObjectStore for RefusingFiles {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        let is_proof = object.key.contains(".proof-");
        let is_refused = matches!(object.kind, ObjectKind::Data | ObjectKind::Void) && !is_proof;
        if is_refused { Ok(PutOutcome::Exists) } else { self.0.put_new(object).await }
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.0.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.0.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_refused_and_not_there_ends_the_run_and_loses_nothing() {
    let world = World::new();
    let ports = Ports { store: Arc::new(RefusingFiles(world.store.clone())), ..world.ports() };
    let config = config();
    let run = run(ports, &config, RunOptions::default(), Meters::new(&config), std::future::pending());
    let error = tokio::time::timeout(MINUTE, run).await.expect("it does not try for ever").unwrap_err().to_string();
    assert!(error.contains(".parquet") && error.contains("does not show"), "{error}");
    assert!(lake::ticks(&world.store.objects()).is_empty());
    world.drain(false).await.0.unwrap();
    world.assert_exact().await;
}
