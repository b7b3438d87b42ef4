//! S3 over REST and XML, with the bucket in the path: from a request to an operation to an answer.
//!
//! This file owns the routing and the shape of answers. It does *not* own objects; those are in `bucket`, below
//! `store`.

mod error;
mod request;

mod list;
mod read;
mod write;

mod checksum;
mod chunked;
mod ingest;
mod object;
mod uploads;

mod bucket;
mod intent;
mod journal;
mod keys;
mod scratch;
mod store;

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::Incoming,
    http::{HeaderName, request::Parts},
};

pub(crate) use self::request::OPERATIONS;
pub(crate) use self::store::{HIDDEN, Store};
use self::{
    bucket::{Bucket, Condition},
    error::S3Error,
    object::set,
    request::Call,
    uploads::Uploads,
};
use crate::{
    body::{BodyError, ReplyBody, Reset, read_body},
    faults::{Faults, Verdict},
    sigv4::Refusal,
    xml::{Node, element},
};

/// The longest XML body: 10,000 parts, or 1,000 keys in which every character is escaped.
const XML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many bytes of a refused body are read before the server gives up the connection.
const DRAIN_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The service.
#[derive(Debug)]
pub(crate) struct S3 {
    store: Store,
    uploads: Uploads,
    faults: Faults,
    region: String,
    /// Whether signatures are verified. If so, the body digests that they cover are verified too.
    signatures: bool,
}

type Reply = Result<Response<ReplyBody>, S3Error>;

impl S3 {
    /// Serves `store` as the buckets of `region`.
    pub(crate) fn new(store: Store, faults: Faults, region: String, signatures: bool) -> Self {
        Self { store, uploads: Uploads::default(), faults, region, signatures }
    }

    /// Answers one request.
    pub(crate) async fn serve(
        &self,
        head: Parts,
        mut body: Incoming,
        region: &str,
    ) -> Result<Response<ReplyBody>, Reset> {
        let resource = head.uri.path().to_owned();
        let is_head = head.method == Method::HEAD;
        let mut verdict = Verdict::Proceed;
        let result = match Call::parse(&head.method, &head.uri, head.headers) {
            Ok(call) => {
                verdict = self.faults.meet(call.operation, || call.prefix()).await;
                match &verdict {
                    Verdict::Reset => return Err(Reset),
                    Verdict::Deny => Err(S3Error::denied(call.operation.action, &call.resource())),
                    Verdict::Fail(kind) => Err(S3Error::from_fault(kind)),
                    _ => self.perform(call, &mut body, region).await,
                }
            }
            Err(error) => Err(error),
        };
        if result.is_err() {
            drain(&mut body).await;
        }
        let mut response = result.unwrap_or_else(|error| error_reply(&error, &resource, is_head));
        set(response.headers_mut(), "x-amz-request-id", &crate::unique::id().simple().to_string());
        verdict.send(response)
    }

    /// The answer to a request without an accepted signature.
    pub(crate) async fn refuse(&self, head: &Parts, mut body: Incoming, refusal: &Refusal) -> Response<ReplyBody> {
        drain(&mut body).await;
        error_reply(&S3Error::unsigned(refusal), head.uri.path(), head.method == Method::HEAD)
    }

    async fn perform(&self, call: Call, body: &mut Incoming, region: &str) -> Reply {
        match call.operation.name {
            "s3:ListBuckets" => return Ok(self.list_buckets()),
            "s3:CreateBucket" => return self.create_bucket(&call, body, region).await,
            _ => {}
        }
        let bucket = self.store.get(&call.bucket)?;
        // A bucket belongs to one region, whichever region a client signs for. Only its location can be asked from
        // everywhere.
        if region != self.region && call.operation.name != "s3:GetBucketLocation" {
            return Err(S3Error::wrong_region(&self.region));
        }
        if call.key.is_empty() {
            return self.perform_on_bucket(bucket, call, body).await;
        }
        keys::check(&call.key)?;
        match call.operation.name {
            "s3:PutObject" => self.put_object(bucket, call, body).await,
            "s3:CopyObject" => self.copy_object(bucket, call).await,
            "s3:GetObject" => blocking(move || read::get(&bucket, &call)).await,
            "s3:HeadObject" => blocking(move || read::head(&bucket, &call)).await,
            "s3:DeleteObject" => {
                let condition =
                    call.header("if-match").map_or(Condition::Always, |tags| Condition::Matches(tags.into()));
                blocking(move || bucket.delete(&call.key, &condition).map(|()| no_content())).await
            }
            "s3:CreateMultipartUpload" => self.create_upload(&call),
            "s3:UploadPart" => self.upload_part(call, body).await,
            "s3:CompleteMultipartUpload" => {
                // The checksum headers of this call describe the object and not the body.
                let xml = read_xml(body, &only(&call.headers, "x-amz-content-sha256")).await?;
                self.complete_upload(bucket, &call, &xml).await
            }
            "s3:AbortMultipartUpload" => self.abort_upload(&call),
            "s3:ListParts" => self.list_parts(&call),
            _ => Err(S3Error::not_implemented()),
        }
    }

    async fn perform_on_bucket(&self, bucket: Arc<Bucket>, call: Call, body: &mut Incoming) -> Reply {
        match call.operation.name {
            "s3:HeadBucket" => {
                let mut response = Response::new(ReplyBody::empty());
                set(response.headers_mut(), "x-amz-bucket-region", &self.region);
                Ok(response)
            }
            "s3:GetBucketLocation" => Ok(self.location()),
            "s3:GetBucketVersioning" => {
                Ok(xml_reply("<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>".to_owned()))
            }
            "s3:ListMultipartUploads" => Ok(self.list_uploads(&bucket)),
            "s3:DeleteBucket" => {
                self.store.delete(&bucket.name)?;
                Ok(no_content())
            }
            "s3:DeleteObjects" => self.delete_objects(bucket, &read_xml(body, &call.headers).await?).await,
            "s3:ListObjectsV2" => blocking(move || list::list(&bucket, &call, true).map(xml_reply)).await,
            "s3:ListObjects" => blocking(move || list::list(&bucket, &call, false).map(xml_reply)).await,
            _ => Err(S3Error::not_implemented()),
        }
    }

    async fn create_bucket(&self, call: &Call, body: &mut Incoming, region: &str) -> Reply {
        let body = read_xml(body, &call.headers).await?;
        let configuration = std::str::from_utf8(&body).ok().and_then(Node::parse);
        if !body.is_empty() && configuration.is_none() {
            return Err(S3Error::malformed_xml());
        }
        let wanted = configuration.as_ref().and_then(|node| node.text("LocationConstraint")).unwrap_or(region);
        if region != self.region || wanted != self.region {
            return Err(S3Error::illegal_location());
        }
        match self.store.create(&call.bucket) {
            // The oldest region, and only that, accepts it if the owner creates a bucket again.
            Err(error) if error == S3Error::bucket_owned() && self.region == "us-east-1" => {}
            result => result?,
        }
        let mut response = Response::new(ReplyBody::empty());
        set(response.headers_mut(), "location", &format!("/{}", call.bucket));
        Ok(response)
    }

    fn list_buckets(&self) -> Response<ReplyBody> {
        let mut xml = String::from("<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner>");
        element(&mut xml, "ID", crate::ACCOUNT);
        xml.push_str("</Owner><Buckets>");
        for bucket in self.store.all() {
            xml.push_str("<Bucket>");
            element(&mut xml, "Name", &bucket.name);
            element(&mut xml, "CreationDate", &bucket.created.rfc3339());
            xml.push_str("</Bucket>");
        }
        xml_reply(xml + "</Buckets></ListAllMyBucketsResult>")
    }

    fn list_uploads(&self, bucket: &Bucket) -> Response<ReplyBody> {
        let mut xml = String::from("<ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        element(&mut xml, "Bucket", &bucket.name);
        element(&mut xml, "IsTruncated", "false");
        for (id, upload) in self.uploads.of_bucket(&bucket.name) {
            xml.push_str("<Upload>");
            element(&mut xml, "Key", &upload.key);
            element(&mut xml, "UploadId", &id);
            element(&mut xml, "Initiated", &upload.initiated.rfc3339());
            xml.push_str("</Upload>");
        }
        xml_reply(xml + "</ListMultipartUploadsResult>")
    }

    fn location(&self) -> Response<ReplyBody> {
        // The oldest region has no name here.
        let region = if self.region == "us-east-1" { "" } else { &self.region };
        let mut xml = String::new();
        element(&mut xml, "LocationConstraint", region);
        xml_reply(xml.replacen('>', " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", 1))
    }
}

/// Runs file I/O on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, S3Error> + Send + 'static) -> Result<T, S3Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error).into()),
    }
}

/// Reads the rest of a refused body. If the server closed the connection on a client that still sends, the client would
/// lose the answer.
async fn drain(body: &mut Incoming) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
        if left == 0 {
            break;
        }
    }
}

/// Only the header `name`.
fn only(headers: &HeaderMap, name: &'static str) -> HeaderMap {
    headers.get(name).map(|value| (HeaderName::from_static(name), value.clone())).into_iter().collect()
}

/// Reads an XML body, and checks it against the headers.
async fn read_xml(body: &mut Incoming, headers: &HeaderMap) -> Result<bytes::Bytes, S3Error> {
    let bytes = read_body(body, XML_BYTES_MAX).await.map_err(|error| match error {
        BodyError::TooLong { .. } => S3Error::malformed_xml(),
        BodyError::Broken => S3Error::incomplete_body(),
    })?;
    ingest::Promise::from_headers(headers)?.check_whole(&bytes)?;
    Ok(bytes)
}

fn xml_reply(mut xml: String) -> Response<ReplyBody> {
    xml.insert_str(0, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut response = Response::new(xml.into());
    set(response.headers_mut(), "content-type", "application/xml");
    response
}

fn no_content() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn error_reply(error: &S3Error, resource: &str, is_head: bool) -> Response<ReplyBody> {
    let mut xml = String::from("<Error>");
    element(&mut xml, "Code", &error.code);
    element(&mut xml, "Message", &error.message);
    element(&mut xml, "Resource", resource);
    if let Some(size) = error.object_size {
        element(&mut xml, "ActualObjectSize", &size.to_string());
    }
    if let Some(region) = &error.region {
        element(&mut xml, "Endpoint", &format!("s3.{region}.amazonaws.com"));
        element(&mut xml, "Region", region);
    }
    let bare = is_head || error.status == 304;
    let mut response = if bare { Response::new(ReplyBody::empty()) } else { xml_reply(xml + "</Error>") };
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(region) = &error.region {
        set(response.headers_mut(), "x-amz-bucket-region", region);
    }
    if let Some(size) = error.object_size {
        set(response.headers_mut(), "content-range", &format!("bytes */{size}"));
    }
    response
}
