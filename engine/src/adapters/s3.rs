//! [`ObjectStore`] over S3.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::Call;
use crate::ports::{ObjectStore, PortError, PutOutcome};

const PUT: Call = Call { action: "put object", permission: "s3:PutObject" };

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
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_new(&self, key: &str, body: Bytes) -> Result<PutOutcome, PortError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .content_type("application/vnd.apache.parquet")
            .body(ByteStream::from(body));
        match put.send().await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(error) => match error.raw_response().map(|response| response.status().as_u16()) {
                // Conditional writes, Amazon S3 User Guide: 412 when the object exists.
                Some(412) => Ok(PutOutcome::Exists),
                // 409 when another write to the key was under way: its outcome is not known yet.
                Some(409) => {
                    let text = format!("s3://{}/{key}: another write is under way", self.bucket);
                    Err(PortError::Retry { action: PUT.action, text })
                }
                _ => Err(PUT.failed(&format!("s3://{}/{key}", self.bucket), &error)),
            },
        }
    }
}
