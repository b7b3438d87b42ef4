//! Finds the operation of a request by its method, path and query. This file does *not* own what the operation does.

use std::collections::BTreeMap;

use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

use super::error::S3Error;
use crate::faults::Operation;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// Empty for operations on the service.
    pub(crate) bucket: String,
    /// Empty for operations on a bucket.
    pub(crate) key: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
}

impl Call {
    /// Reads the head of a request, with the bucket as the first segment of the path.
    pub(crate) fn parse(method: &Method, uri: &Uri, headers: HeaderMap) -> Result<Self, S3Error> {
        let decode = |text: &str| {
            percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| S3Error::invalid_uri())
        };
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(&value.replace('+', " "))?))
        });
        let query: BTreeMap<String, String> = pairs.collect::<Result<_, S3Error>>()?;
        let (bucket, key) = (decode(bucket)?, decode(key)?);
        let operation = if key.is_empty() {
            route_bucket(method, &bucket, &query)?
        } else {
            route_object(method, &query, headers.contains_key("x-amz-copy-source"))?
        };
        Ok(Self { operation, bucket, key, query, headers })
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query that is not empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The bucket, and the key up to its last slash. S3 counts request rates by these.
    pub(crate) fn prefix(&self) -> String {
        let folder = self.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{}/{folder}", self.bucket)
    }

    /// The ARN of the request's resource.
    pub(crate) fn resource(&self) -> String {
        match (self.bucket.as_str(), self.key.as_str()) {
            ("", _) => "arn:aws:s3:::*".to_owned(),
            (bucket, "") => format!("arn:aws:s3:::{bucket}"),
            (bucket, key) => format!("arn:aws:s3:::{bucket}/{key}"),
        }
    }
}

/// Sub-resources that S3 has and this server has not. Treating one of these as the object or bucket itself would be
/// worse than an error.
const NOT_SERVED: [&str; 16] = [
    "acl",
    "tagging",
    "retention",
    "legal-hold",
    "torrent",
    "attributes",
    "restore",
    "select",
    "versions",
    "policy",
    "lifecycle",
    "cors",
    "encryption",
    "notification",
    "object-lock",
    "versionId",
];

macro_rules! operations {
    ($($constant:ident = $name:literal by $action:literal;)*) => {
        $(const $constant: Operation = Operation { name: concat!("s3:", $name), action: concat!("s3:", $action) };)*

        /// All operations of this server, each with the IAM action that allows it.
        pub(crate) const OPERATIONS: &[Operation] = &[$($constant),*];
    };
}

operations! {
    LIST_BUCKETS = "ListBuckets" by "ListAllMyBuckets";
    GET_BUCKET_LOCATION = "GetBucketLocation" by "GetBucketLocation";
    LIST_MULTIPART_UPLOADS = "ListMultipartUploads" by "ListBucketMultipartUploads";
    GET_BUCKET_VERSIONING = "GetBucketVersioning" by "GetBucketVersioning";
    LIST_OBJECTS_V2 = "ListObjectsV2" by "ListBucket";
    LIST_OBJECTS = "ListObjects" by "ListBucket";
    CREATE_BUCKET = "CreateBucket" by "CreateBucket";
    HEAD_BUCKET = "HeadBucket" by "ListBucket";
    DELETE_BUCKET = "DeleteBucket" by "DeleteBucket";
    DELETE_OBJECTS = "DeleteObjects" by "DeleteObject";
    UPLOAD_PART = "UploadPart" by "PutObject";
    COPY_OBJECT = "CopyObject" by "PutObject";
    PUT_OBJECT = "PutObject" by "PutObject";
    LIST_PARTS = "ListParts" by "ListMultipartUploadParts";
    GET_OBJECT = "GetObject" by "GetObject";
    HEAD_OBJECT = "HeadObject" by "GetObject";
    ABORT_MULTIPART_UPLOAD = "AbortMultipartUpload" by "AbortMultipartUpload";
    DELETE_OBJECT = "DeleteObject" by "DeleteObject";
    COMPLETE_MULTIPART_UPLOAD = "CompleteMultipartUpload" by "PutObject";
    CREATE_MULTIPART_UPLOAD = "CreateMultipartUpload" by "PutObject";
}

fn route_bucket(method: &Method, bucket: &str, query: &BTreeMap<String, String>) -> Result<Operation, S3Error> {
    let has = |name: &str| query.contains_key(name);
    if NOT_SERVED.into_iter().any(has) {
        return Err(S3Error::not_implemented());
    }
    Ok(match method.as_str() {
        "GET" if bucket.is_empty() => LIST_BUCKETS,
        _ if bucket.is_empty() => return Err(S3Error::method_not_allowed()),
        "GET" if has("location") => GET_BUCKET_LOCATION,
        "GET" if has("uploads") => LIST_MULTIPART_UPLOADS,
        "GET" if has("versioning") => GET_BUCKET_VERSIONING,
        "GET" if query.get("list-type").is_some_and(|kind| kind == "2") => LIST_OBJECTS_V2,
        "GET" => LIST_OBJECTS,
        "PUT" if has("versioning") => return Err(S3Error::not_implemented()),
        "PUT" => CREATE_BUCKET,
        "HEAD" => HEAD_BUCKET,
        "DELETE" => DELETE_BUCKET,
        "POST" if has("delete") => DELETE_OBJECTS,
        _ => return Err(S3Error::method_not_allowed()),
    })
}

fn route_object(method: &Method, query: &BTreeMap<String, String>, copies: bool) -> Result<Operation, S3Error> {
    let has = |name: &str| query.contains_key(name);
    if NOT_SERVED.into_iter().any(has) {
        return Err(S3Error::not_implemented());
    }
    let upload = has("uploadId");
    Ok(match method.as_str() {
        "PUT" if upload && copies => return Err(S3Error::not_implemented()),
        "PUT" if upload => UPLOAD_PART,
        "PUT" if copies => COPY_OBJECT,
        "PUT" => PUT_OBJECT,
        "GET" if upload => LIST_PARTS,
        "GET" => GET_OBJECT,
        "HEAD" => HEAD_OBJECT,
        "DELETE" if upload => ABORT_MULTIPART_UPLOAD,
        "DELETE" => DELETE_OBJECT,
        "POST" if upload => COMPLETE_MULTIPART_UPLOAD,
        "POST" if has("uploads") => CREATE_MULTIPART_UPLOAD,
        _ => return Err(S3Error::method_not_allowed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, uri: &str) -> Result<Call, S3Error> {
        Call::parse(&method.parse().unwrap(), &uri.parse().unwrap(), HeaderMap::new())
    }

    #[test]
    fn keys_are_decoded_once_and_keep_their_plus_signs() {
        let call = parse("GET", "/b/dt%3D1/a+b%2520c//%2E%2E/d?x-id=GetObject").unwrap();
        assert_eq!((call.bucket.as_str(), call.key.as_str()), ("b", "dt=1/a+b%20c//../d"));
        assert_eq!(call.operation.name, "s3:GetObject");
    }

    #[test]
    fn operations_are_told_apart_by_method_and_query() {
        for (method, uri, name) in [
            ("GET", "/", "s3:ListBuckets"),
            ("GET", "/b?list-type=2&prefix=a", "s3:ListObjectsV2"),
            ("GET", "/b/", "s3:ListObjects"),
            ("POST", "/b?delete", "s3:DeleteObjects"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", "s3:UploadPart"),
            ("POST", "/b/k?uploads", "s3:CreateMultipartUpload"),
            ("DELETE", "/b/k?uploadId=u", "s3:AbortMultipartUpload"),
        ] {
            assert_eq!(parse(method, uri).unwrap().operation.name, name, "{method} {uri}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_and_not_mistaken() {
        for (method, uri) in [("PUT", "/b/k?tagging"), ("DELETE", "/b?policy"), ("PATCH", "/b/k"), ("GET", "/b/%FF")] {
            assert!(parse(method, uri).is_err(), "{method} {uri}");
        }
    }
}
