//! Writes objects: put, copy, delete, and uploads in parts. This file does *not* own where the bytes end up.

use std::sync::Arc;

use hyper::{Response, body::Incoming};
use percent_encoding::percent_decode_str;

use super::{
    S3, blocking,
    bucket::{Bucket, Condition},
    checksum::{Algorithm, Checksum},
    error::S3Error,
    ingest::{Ingested, Promise, ingest, ingest_file},
    keys,
    object::{Description, Object, set},
    request::Call,
    uploads::{Named, Part, WholeChecksum},
    xml_reply,
};
use crate::{
    body::ReplyBody,
    clock::Millis,
    hex::hex,
    xml::{Node, element},
};

/// The most keys in one `DeleteObjects`.
const DELETE_MAX: usize = 1000;

/// The highest part number.
const PART_NUMBER_MAX: u32 = 10_000;

type Reply = Result<Response<ReplyBody>, S3Error>;

impl S3 {
    pub(super) async fn put_object(&self, bucket: Arc<Bucket>, call: Call, body: &mut Incoming) -> Reply {
        let promise = self.promise(&call)?;
        let description = Description::from_headers(&call.headers)?;
        let write = bucket.begin(&call.key, condition(&call)?);
        let now = self.store.now();
        let scratch = self.store.scratch()?;
        ingest(body, scratch, promise, move |ingested| {
            let (bytes, object) = describe(ingested, description, now);
            let object = bucket.commit(&call.key, bytes, object, &write)?;
            let mut response = Response::new(ReplyBody::empty());
            write_digests(&mut response, &object);
            Ok(response)
        })
        .await
    }

    /// What a request promises about its body. The digest in a signature is part of the signature. A server that does
    /// not verify signatures does not compute it either. It would add half to the cost of a large object.
    fn promise(&self, call: &Call) -> Result<Promise, S3Error> {
        let promise = Promise::from_headers(&call.headers)?;
        Ok(if self.signatures { promise } else { promise.unsigned() })
    }

    pub(super) async fn copy_object(&self, bucket: Arc<Bucket>, call: Call) -> Reply {
        let (source_bucket, source_key) = copy_source(&call)?;
        let source = self.store.get(&source_bucket)?;
        let replaced = match call.header("x-amz-metadata-directive") {
            Some("REPLACE") => Some(Description::from_headers(&call.headers)?),
            _ => None,
        };
        let write = bucket.begin(&call.key, condition(&call)?);
        let now = self.store.now();
        let scratch = self.store.scratch()?;
        blocking(move || {
            let (object, file) = source.open(&source_key)?;
            if call.header("x-amz-copy-source-if-match").is_some_and(|tags| !object.is_named_by(tags)) {
                return Err(S3Error::precondition_failed());
            }
            let description = replaced.unwrap_or_else(|| object.description.clone());
            let (bytes, object) = describe(ingest_file(file, scratch)?, description, now);
            let object = bucket.commit(&call.key, bytes, object, &write)?;
            let mut xml = String::from("<CopyObjectResult>");
            element(&mut xml, "ETag", &object.quoted_etag());
            element(&mut xml, "LastModified", &object.modified().rfc3339());
            Ok(xml_reply(xml + "</CopyObjectResult>"))
        })
        .await
    }

    pub(super) async fn delete_objects(&self, bucket: Arc<Bucket>, body: &[u8]) -> Reply {
        let root = std::str::from_utf8(body).ok().and_then(Node::parse).ok_or_else(S3Error::malformed_xml)?;
        let condition = |node: &Node| match node.text("ETag") {
            Some(tag) => Condition::Matches(tag.to_owned()),
            None => Condition::Always,
        };
        let keys: Option<Vec<(String, Condition)>> =
            root.all("Object").map(|node| Some((node.text("Key")?.to_owned(), condition(node)))).collect();
        let keys = keys.filter(|keys| (1..=DELETE_MAX).contains(&keys.len())).ok_or_else(S3Error::malformed_xml)?;
        let quiet = root.text("Quiet") == Some("true");
        blocking(move || {
            let mut xml = String::from("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
            for (key, condition) in &keys {
                match bucket.delete(key, condition) {
                    Ok(()) if quiet => {}
                    Ok(()) => {
                        xml.push_str("<Deleted>");
                        element(&mut xml, "Key", key);
                        xml.push_str("</Deleted>");
                    }
                    Err(error) => {
                        xml.push_str("<Error>");
                        element(&mut xml, "Key", key);
                        element(&mut xml, "Code", &error.code);
                        element(&mut xml, "Message", &error.message);
                        xml.push_str("</Error>");
                    }
                }
            }
            Ok(xml_reply(xml + "</DeleteResult>"))
        })
        .await
    }

    pub(super) fn create_upload(&self, call: &Call) -> Reply {
        let description = Description::from_headers(&call.headers)?;
        let whole = WholeChecksum::from_headers(&call.headers)?;
        let id = self.uploads.create(&call.bucket, &call.key, (description, whole), self.store.now());
        let mut xml = String::from("<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        element(&mut xml, "Bucket", &call.bucket);
        element(&mut xml, "Key", &call.key);
        element(&mut xml, "UploadId", &id);
        Ok(xml_reply(xml + "</InitiateMultipartUploadResult>"))
    }

    pub(super) async fn upload_part(&self, call: Call, body: &mut Incoming) -> Reply {
        let upload = self.uploads.get(upload_id(&call), &call.bucket, &call.key)?;
        let number = call.parameter("partNumber").and_then(|number| number.parse::<u32>().ok());
        let number = number.filter(|number| (1..=PART_NUMBER_MAX).contains(number));
        let number = number.ok_or_else(|| {
            S3Error::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
        })?;
        let promise = self.promise(&call)?.by_default(upload.checksum.algorithm);
        let now = self.store.now();
        let scratch = self.store.scratch()?;
        ingest(body, scratch, promise, move |ingested| {
            upload.check(&ingested)?;
            let mut response = Response::new(ReplyBody::empty());
            set(response.headers_mut(), "etag", &format!("\"{}\"", hex(&ingested.md5)));
            set(response.headers_mut(), ingested.checksum.algorithm.header(), &ingested.checksum.value);
            upload.put(number, Part { ingested, modified: now });
            Ok(response)
        })
        .await
    }

    pub(super) async fn complete_upload(&self, bucket: Arc<Bucket>, call: &Call, body: &[u8]) -> Reply {
        let id = upload_id(call);
        let upload = self.uploads.get(id, &call.bucket, &call.key)?;
        let named = named_parts(body)?;
        let write = bucket.begin(&call.key, condition(call)?);
        let size = call.header("x-amz-mp-object-size").map(str::to_owned);
        let promised = call.header(upload.checksum.algorithm.header()).map(str::to_owned);
        let now = self.store.now();
        let mut scratch = self.store.scratch()?;
        let key = call.key.clone();
        let object = blocking(move || {
            let object = upload.assemble(&named, &mut scratch, now)?;
            if size.is_some_and(|size| size != object.size.to_string()) {
                return Err(S3Error::invalid_request("The provided 'x-amz-mp-object-size' header does not match."));
            }
            let value = object.checksum.as_ref().map(|checksum| &checksum.value);
            if promised.is_some_and(|promised| Some(&promised) != value) {
                return Err(S3Error::bad_digest());
            }
            bucket.commit(&key, scratch, object, &write)
        })
        .await?;
        self.uploads.remove(id);
        let mut xml = String::from("<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        element(&mut xml, "Location", &format!("/{}/{}", call.bucket, call.key));
        element(&mut xml, "Bucket", &call.bucket);
        element(&mut xml, "Key", &call.key);
        element(&mut xml, "ETag", &object.quoted_etag());
        if let Some(checksum) = &object.checksum {
            element(&mut xml, checksum.algorithm.element(), &checksum.value);
            element(&mut xml, "ChecksumType", checksum.kind());
        }
        Ok(xml_reply(xml + "</CompleteMultipartUploadResult>"))
    }

    pub(super) fn abort_upload(&self, call: &Call) -> Reply {
        let id = upload_id(call);
        self.uploads.get(id, &call.bucket, &call.key)?;
        self.uploads.remove(id);
        Ok(super::no_content())
    }

    pub(super) fn list_parts(&self, call: &Call) -> Reply {
        let id = upload_id(call);
        let upload = self.uploads.get(id, &call.bucket, &call.key)?;
        let after = call.parameter("part-number-marker").and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        let max = call.parameter("max-parts").and_then(|max| max.parse::<usize>().ok()).unwrap_or(1000).min(1000);
        let parts = upload.parts();
        let mut xml = String::from("<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        element(&mut xml, "Bucket", &call.bucket);
        element(&mut xml, "Key", &call.key);
        element(&mut xml, "UploadId", id);
        element(&mut xml, "MaxParts", &max.to_string());
        let mut last = after;
        for (number, part) in parts.range(after.saturating_add(1)..).take(max) {
            last = *number;
            xml.push_str("<Part>");
            element(&mut xml, "PartNumber", &number.to_string());
            element(&mut xml, "LastModified", &part.modified.rfc3339());
            element(&mut xml, "ETag", &format!("\"{}\"", hex(&part.ingested.md5)));
            element(&mut xml, "Size", &part.ingested.size.to_string());
            element(&mut xml, part.ingested.checksum.algorithm.element(), &part.ingested.checksum.value);
            xml.push_str("</Part>");
        }
        let more = parts.range(last.saturating_add(1)..).next().is_some();
        element(&mut xml, "NextPartNumberMarker", &last.to_string());
        element(&mut xml, "IsTruncated", if more { "true" } else { "false" });
        Ok(xml_reply(xml + "</ListPartsResult>"))
    }
}

fn upload_id(call: &Call) -> &str {
    call.parameter("uploadId").unwrap_or_default()
}

/// The condition of a write.
fn condition(call: &Call) -> Result<Condition, S3Error> {
    match (call.header("if-none-match"), call.header("if-match")) {
        (None, None) => Ok(Condition::Always),
        (Some("*"), None) => Ok(Condition::Absent),
        (None, Some(tags)) => Ok(Condition::Matches(tags.to_owned())),
        _ => Err(S3Error::not_implemented()),
    }
}

fn describe(ingested: Ingested, description: Description, now: Millis) -> (super::scratch::Scratch, Object) {
    let Ingested { bytes, size, md5, checksum } = ingested;
    (bytes, Object { size, etag: hex(&md5), modified_ms: now.0, checksum: Some(checksum), description })
}

fn write_digests(response: &mut Response<ReplyBody>, object: &Object) {
    let headers = response.headers_mut();
    set(headers, "etag", &object.quoted_etag());
    if let Some(checksum) = &object.checksum {
        set(headers, checksum.algorithm.header(), &checksum.value);
        set(headers, "x-amz-checksum-type", checksum.kind());
    }
}

/// The bucket and key in `x-amz-copy-source`.
fn copy_source(call: &Call) -> Result<(String, String), S3Error> {
    let invalid =
        || S3Error::invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
    let source = call.header("x-amz-copy-source").unwrap_or_default();
    let source = percent_decode_str(source).decode_utf8().map_err(|_| invalid())?;
    let (bucket, key) = source.trim_start_matches('/').split_once('/').ok_or_else(invalid)?;
    keys::check(key).map_err(|_| invalid())?;
    Ok((bucket.to_owned(), key.to_owned()))
}

fn named_parts(body: &[u8]) -> Result<Vec<Named>, S3Error> {
    let root = std::str::from_utf8(body).ok().and_then(Node::parse).ok_or_else(S3Error::malformed_xml)?;
    let part = |node: &Node| {
        let number = node.text("PartNumber")?.trim().parse().ok()?;
        let etag = node.text("ETag")?.trim().trim_matches('"').to_owned();
        let checksum = Algorithm::ALL.into_iter().find_map(|algorithm| {
            Some(Checksum { algorithm, value: node.text(algorithm.element())?.trim().to_owned() })
        });
        Some(Named { number, etag, checksum })
    };
    root.all("Part").map(part).collect::<Option<_>>().ok_or_else(S3Error::malformed_xml)
}
