//! [`ObjectStore`] over S3.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use bytes::Bytes;
use tracing::debug;

use super::Call;
use crate::ports::{Failure, Found, NewObject, ObjectKind, ObjectStore, PortError, PutOutcome};

const PUT: Call = Call { action: "put object", permission: "s3:PutObject" };
const HEAD: Call = Call { action: "look for an object", permission: "s3:GetObject" };
const LIST: Call = Call { action: "list objects", permission: "s3:ListBucket" };
const GET: Call = Call { action: "get object", permission: "s3:GetObject" };
const DELETE: Call = Call { action: "delete object", permission: "s3:DeleteObject" };

/// Metadata of every object: the epoch that it belongs to.
const EPOCH: &str = "ticklake-epoch";
/// Metadata of a void.
const VOID: &str = "ticklake-void";

/// The slowest upload that an attempt waits for. In addition to `aws.attempt_timeout`, an attempt may take the time
/// that its bytes need at this rate. Otherwise the adapter would give up a large file on a slow connection, and begin
/// it again for ever.
const LEAST_BYTES_PER_S: usize = 1 << 20;

/// One S3 bucket.
#[derive(Debug)]
pub struct S3Store {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl S3Store {
    /// The bucket of this name.
    #[must_use]
    pub fn new(client: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { client, bucket }
    }

    /// The configuration of a PUT of so many bytes, with a longer timeout. `None` if that adds less than a second.
    fn config_for(&self, bytes: usize) -> Option<Builder> {
        let extra = Duration::from_secs((bytes / LEAST_BYTES_PER_S) as u64);
        let timeouts = self.client.config().timeout_config()?;
        let timeout = timeouts.operation_attempt_timeout()? + extra;
        let timeouts = timeouts.to_builder().operation_attempt_timeout(timeout).build();
        (!extra.is_zero()).then(|| aws_sdk_s3::Config::builder().timeout_config(timeouts))
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        let NewObject { key, body, epoch, kind } = object;
        let content_type = match kind {
            ObjectKind::Data | ObjectKind::Void => "application/vnd.apache.parquet",
            ObjectKind::Entry | ObjectKind::Claim | ObjectKind::Note => "application/octet-stream",
        };
        let put = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*").content_type(content_type);
        let bytes = body.len();
        let mut put = put.metadata(EPOCH, epoch).body(ByteStream::from(body));
        if kind == ObjectKind::Void {
            put = put.metadata(VOID, "1");
        }
        let mut put = put.customize();
        if let Some(config) = self.config_for(bytes) {
            put = put.config_override(config);
        }
        let target = self.url(key);
        match PUT.answered(&target, bytes, put.send()).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(error) => match error.raw_response().map(|response| response.status().as_u16()) {
                // Conditional writes, Amazon S3 User Guide: 412 when the object exists.
                Some(412) => Ok(PutOutcome::Exists),
                // 409 when another write to the key is under way: its outcome is not known yet.
                Some(409) => {
                    debug!(target, error = %PUT.failed(&target, error), "a PUT met a conflict");
                    Ok(PutOutcome::Conflict)
                }
                _ => Err(PUT.failed(&target, error)),
            },
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        let target = self.url(key);
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        match HEAD.answered(&target, 0, head.send()).await {
            Ok(found) => {
                let metadata = found.metadata.unwrap_or_default();
                Ok(Some(Found { epoch: metadata.get(EPOCH).cloned(), is_void: metadata.contains_key(VOID) }))
            }
            // Without the permission s3:ListBucket, S3 would answer 403.
            Err(error) if is_404(error.raw_response().map(|response| response.status().as_u16())) => Ok(None),
            Err(error) => Err(HEAD.failed(&target, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let (target, mut keys) = (self.url(prefix), Vec::new());
        while let Some(page) = LIST.answered(&target, 0, pages.next()).await {
            let page = page.map_err(|error| LIST.failed(&target, error))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(keys)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let target = self.url(key);
        let get = self.client.get_object().bucket(&self.bucket).key(key);
        match GET.answered(&target, 0, get.send()).await {
            Ok(found) => {
                let body = GET.answered(&target, 0, found.body.collect()).await;
                let failed = |error: ByteStreamError| {
                    let text = format!("{target}: {error}");
                    PortError::Retry(Failure { action: GET.action, text, source: Some(error.into()) })
                };
                Ok(Some(body.map_err(failed)?.into_bytes()))
            }
            Err(error) if is_404(error.raw_response().map(|response| response.status().as_u16())) => Ok(None),
            Err(error) => Err(GET.failed(&target, error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        let target = self.url(key);
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        let deleted = DELETE.answered(&target, 0, delete.send()).await;
        deleted.map(drop).map_err(|error| DELETE.failed(&target, error))
    }
}

fn is_404(status: Option<u16>) -> bool {
    status == Some(404)
}
