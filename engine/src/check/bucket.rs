//! The bucket: it exists, lies in the region that is asked, and takes an object that nobody has stored before, once.
//!
//! The probe is a real object, because nothing else tells whether a PUT is allowed. Its name begins with a dot, which Athena
//! hides, and it lies beside the tables and not in them.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

use super::Findings;
use crate::aws::error::Trouble;
use crate::config::{Delivery, Lake};

pub(super) async fn check(s3: &Client, lake: &Lake) -> Findings {
    let mut findings = Findings::default();
    let place = if lake.prefix.is_empty() {
        format!("s3://{}", lake.bucket)
    } else {
        format!("s3://{}/{}", lake.bucket, lake.prefix)
    };
    match head(s3, lake).await {
        Ok(()) => {}
        // At least once, the engine stores without listing; the probe goes on to tell the rest.
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

/// Writes the probe twice, the second time in vain, and removes it.
async fn probe(s3: &Client, lake: &Lake, place: &str, findings: &mut Findings) {
    let objects = format!("arn:aws:s3:::{}/{}*", lake.bucket, below(&lake.prefix, ""));
    let key = below(&lake.prefix, &format!(".ticklake-check-{}", uuid::Uuid::now_v7().simple()));
    match put(s3, lake, &key).await {
        Ok(Put::Stored) => {}
        Ok(Put::Existed) => {
            // The name is as good as unique: a store that says so answers every conditional PUT like this.
            findings.fail(format!("{place}: a new object was refused as already there: conditional PUT does not work"));
            return;
        }
        Err(trouble @ Trouble::Denied { .. }) => {
            findings.fail(format!("{place}: {trouble} on {objects}"));
            return;
        }
        Err(trouble) => {
            findings.fail(format!("{place}: failed to store an object: {}", in_words(&trouble)));
            return;
        }
    }
    match put(s3, lake, &key).await {
        Ok(Put::Existed) => findings.ok(format!("{place} (stored a probe, conditional PUT works)")),
        Ok(Put::Stored) if is_exact(lake) => findings.fail(format!(
            "{place}: the store ignores If-None-Match, without which two workers can store the same rows; lake.delivery = \
             \"at-least-once\" does without"
        )),
        Ok(Put::Stored) => {
            findings.warn(format!("{place}: the store ignores If-None-Match: what is delivered again is stored again"));
        }
        Err(trouble) => findings.fail(format!("{place}: failed to store an object twice: {trouble}")),
    }
    if let Err(error) = s3.get_object().bucket(&lake.bucket).key(&key).send().await {
        let text = format!("{place}: {} on {objects}", Trouble::of(&error, "s3:GetObject"));
        if is_exact(lake) { findings.fail(text) } else { findings.warn(text) }
    }
    match s3.delete_object().bucket(&lake.bucket).key(&key).send().await {
        Ok(_) => {}
        Err(error) => {
            let trouble = Trouble::of(&error, "s3:DeleteObject");
            findings.warn(format!(
                "{place}: the probe {key} stays, and so would every ledger entry: {trouble} on {objects}"
            ));
        }
    }
}

/// Whether the engine needs the ledger: to write, list, read and, so that it does not grow, to delete.
fn is_exact(lake: &Lake) -> bool {
    lake.delivery == Delivery::ExactlyOnce
}

enum Put {
    Stored,
    Existed,
}

async fn put(s3: &Client, lake: &Lake, key: &str) -> Result<Put, Trouble> {
    let put =
        s3.put_object().bucket(&lake.bucket).key(key).if_none_match("*").body(ByteStream::from_static(b"probe\n"));
    match put.send().await {
        Ok(_) => Ok(Put::Stored),
        Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 412) => {
            Ok(Put::Existed)
        }
        Err(error) => Err(Trouble::of(&error, "s3:PutObject")),
    }
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
