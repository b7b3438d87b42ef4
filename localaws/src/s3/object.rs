//! An object's metadata, as it is kept and as it is answered. This file does *not* own where it is kept.

use std::collections::BTreeMap;

use hyper::{HeaderMap, header, http::HeaderName};
use serde::{Deserialize, Serialize};

use super::{checksum::Checksum, error::S3Error};
use crate::clock::Millis;

/// The headers that are kept with an object and sent with it, in addition to the content type.
const KEPT: [&str; 5] = ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// The largest size of user metadata, in bytes.
const METADATA_BYTES_MAX: usize = 2048;

/// The part of the metadata that the writer chooses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) content_type: Option<String>,
    /// Headers named in [`KEPT`].
    headers: BTreeMap<String, String>,
    /// User metadata, without the prefix `x-amz-meta-`.
    metadata: BTreeMap<String, String>,
}

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) size: u64,
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) description: Description,
}

impl Description {
    /// Reads the description from a request's headers.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut kept: BTreeMap<String, String> =
            KEPT.iter().filter_map(|name| Some(((*name).to_owned(), text(headers.get(*name)?)))).collect();
        // The encoding `aws-chunked` belongs to the transfer and not to the object.
        if let Some(encoding) = kept.remove("content-encoding") {
            let own: Vec<&str> =
                encoding.split(',').map(str::trim).filter(|coding| !matches!(*coding, "" | "aws-chunked")).collect();
            if !own.is_empty() {
                kept.insert("content-encoding".to_owned(), own.join(","));
            }
        }
        let metadata: BTreeMap<String, String> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().strip_prefix("x-amz-meta-")?.to_owned(), text(value))))
            .collect();
        if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > METADATA_BYTES_MAX {
            return Err(S3Error::metadata_too_large());
        }
        Ok(Self { content_type: headers.get(header::CONTENT_TYPE).map(text), headers: kept, metadata })
    }

    /// Adds the description to the headers of an answer.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        set(headers, "content-type", self.content_type.as_deref().unwrap_or("binary/octet-stream"));
        for (name, value) in &self.headers {
            set(headers, name, value);
        }
        for (name, value) in &self.metadata {
            set(headers, &format!("x-amz-meta-{name}"), value);
        }
    }
}

impl Object {
    pub(crate) fn modified(&self) -> Millis {
        Millis(self.modified_ms)
    }

    /// The entity tag in quotes.
    pub(crate) fn quoted_etag(&self) -> String {
        format!("\"{}\"", self.etag)
    }

    /// Whether a list of entity tags, as in `If-Match`, has this object's tag.
    pub(crate) fn is_named_by(&self, tags: &str) -> bool {
        let plain = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        tags.split(',').map(plain).any(|tag| tag == "*" || tag == self.etag)
    }
}

/// Sets a header, unless the name or value is invalid.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), header::HeaderValue::from_bytes(value.as_bytes())) {
        headers.insert(name, value);
    }
}
