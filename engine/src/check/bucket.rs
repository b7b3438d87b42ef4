//! Checks the bucket: it exists in the configured region, and of several objects of one new name it stores exactly one.
//!
//! The probes are real objects, because nothing else shows whether a PUT is allowed. Athena hides them, because their
//! names begin with a dot, and they are beside the tables, not in them.

use std::time::Duration;

use aws_sdk_s3::Client;

use super::Findings;
use crate::adapters::S3Store;
use crate::aws::error::Trouble;
use crate::config::{Delivery, Lake};
use crate::probe::{self, ProbeError, ROUNDS, WRITERS};

/// How long calls that may succeed later are repeated.
const TRIES: Duration = Duration::from_secs(3);

pub(super) async fn check(s3: &Client, lake: &Lake) -> Findings {
    let mut findings = Findings::default();
    let place = if lake.prefix.is_empty() {
        format!("s3://{}", lake.bucket)
    } else {
        format!("s3://{}/{}", lake.bucket, lake.prefix)
    };
    match head(s3, lake).await {
        Ok(()) => {}
        // With `at-least-once`, the engine needs no list. The probe goes on and tells the rest.
        Err(trouble @ Trouble::Denied { .. }) => {
            let text = format!("{place}: {trouble} on arn:aws:s3:::{}", lake.bucket);
            if is_exact(lake) { findings.fail(text) } else { findings.warn(text) }
        }
        Err(trouble) => {
            findings.fail(format!("{place}: {}", in_words(&trouble)));
            return findings;
        }
    }
    probe(s3, lake, &place, &mut findings).await;
    findings
}

/// Lets writers compete for new names, as the engine does before it trusts a store.
async fn probe(s3: &Client, lake: &Lake, place: &str, findings: &mut Findings) {
    let objects = format!("arn:aws:s3:::{}/{}*", lake.bucket, below(&lake.prefix, ""));
    let name = below(&lake.prefix, &format!(".ticklake-check-{}", uuid::Uuid::now_v7().simple()));
    let store = S3Store::new(s3.clone(), lake.bucket.clone());
    let probed = probe::probe(&store, &name, TRIES).await;
    match probed.result {
        Ok(()) => {
            findings.ok(format!("{place} (one of {WRITERS} concurrent conditional PUTs succeeds, {ROUNDS} times)"));
        }
        Err(error @ ProbeError::Put(_)) => findings.fail(format!("{place}: {error} on {objects}")),
        Err(ProbeError::Doubled(what)) if !is_exact(lake) => {
            findings.warn(format!("{place}: {what}: messages that are delivered again are stored again"));
        }
        Err(error @ ProbeError::Forgets) if !is_exact(lake) => findings.warn(format!("{place}: {error}")),
        Err(error @ ProbeError::Get(_)) => {
            let text = format!("{place}: {error} on {objects}");
            if is_exact(lake) { findings.fail(text) } else { findings.warn(text) }
        }
        Err(error) => findings.fail(format!("{place}: {error}")),
    }
    if let Some(error) = probed.left {
        findings
            .warn(format!("{place}: cannot remove the probes {name}-*, nor any ledger entry: {error} on {objects}"));
    }
}

/// Whether the engine needs the ledger. It writes, lists and reads it, and deletes so that it does not grow.
fn is_exact(lake: &Lake) -> bool {
    lake.delivery == Delivery::ExactlyOnce
}

async fn head(s3: &Client, lake: &Lake) -> Result<(), Trouble> {
    let answer = s3.head_bucket().bucket(&lake.bucket).send().await;
    answer.map(drop).map_err(|error| Trouble::of(&error, "s3:ListBucket"))
}

fn below(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

fn in_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotFound => "no such bucket: check the name, or create it".to_owned(),
        other => other.to_string(),
    }
}
