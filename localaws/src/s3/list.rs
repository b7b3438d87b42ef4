//! Listing a bucket: which keys and common prefixes make a page, and how a page is written.
//!
//! This file does *not* own the index that it walks.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    bucket::{Bucket, Scan},
    error::S3Error,
    object::Object,
    request::Call,
};
use crate::xml::element;

const PAGE_MAX: usize = 1000;

/// The characters that `encoding-type=url` does not escape.
const URL_SAFE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// What a list request asks for.
#[derive(Debug, Default)]
struct Question {
    prefix: String,
    delimiter: String,
    /// Keys up to and including this one were listed before.
    after: String,
    max: usize,
}

#[derive(Debug, Default, PartialEq)]
struct Page {
    contents: Vec<(String, Object)>,
    prefixes: Vec<String>,
    truncated: bool,
    /// Where the next page begins: after this key or prefix.
    last: String,
}

/// Answers `ListObjectsV2`, or `ListObjects` if `second` is false.
pub(crate) fn list(bucket: &Bucket, call: &Call, second: bool) -> Result<String, S3Error> {
    let text = |name: &str| call.parameter(name).unwrap_or_default().to_owned();
    let max = match call.parameter("max-keys") {
        Some(max) => max.parse::<usize>().map_err(|_| S3Error::invalid_argument("Provided max-keys not an integer"))?,
        None => PAGE_MAX,
    };
    let token = call.parameter("continuation-token").filter(|_| second);
    let after = match token {
        Some(token) => decode_token(token)?,
        None => text(if second { "start-after" } else { "marker" }),
    };
    let question = Question { prefix: text("prefix"), delimiter: text("delimiter"), after, max: max.min(PAGE_MAX) };
    let page = collect(bucket, &question)?;
    let encode = match call.parameter("encoding-type") {
        None => str::to_owned,
        Some("url") => |text: &str| utf8_percent_encode(text, URL_SAFE).to_string(),
        Some(_) => return Err(S3Error::invalid_argument("Invalid Encoding Method specified in Request")),
    };
    let mut xml = String::from("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    element(&mut xml, "Name", &bucket.name);
    element(&mut xml, "Prefix", &encode(&question.prefix));
    if !question.delimiter.is_empty() {
        element(&mut xml, "Delimiter", &encode(&question.delimiter));
    }
    element(&mut xml, "MaxKeys", &question.max.to_string());
    if let Some(kind) = call.parameter("encoding-type") {
        element(&mut xml, "EncodingType", kind);
    }
    element(&mut xml, "IsTruncated", if page.truncated { "true" } else { "false" });
    if second {
        write_second(&mut xml, call, &page, encode);
    } else {
        element(&mut xml, "Marker", &encode(&question.after));
        if page.truncated {
            element(&mut xml, "NextMarker", &encode(&page.last));
        }
    }
    for (key, object) in &page.contents {
        write_entry(&mut xml, &encode(key), object);
    }
    for prefix in &page.prefixes {
        let _ = write!(xml, "<CommonPrefixes>");
        element(&mut xml, "Prefix", &encode(prefix));
        let _ = write!(xml, "</CommonPrefixes>");
    }
    xml.push_str("</ListBucketResult>");
    Ok(xml)
}

fn write_second(xml: &mut String, call: &Call, page: &Page, encode: fn(&str) -> String) {
    element(xml, "KeyCount", &(page.contents.len() + page.prefixes.len()).to_string());
    if let Some(token) = call.parameter("continuation-token") {
        element(xml, "ContinuationToken", token);
    }
    if let Some(start) = call.parameter("start-after") {
        element(xml, "StartAfter", &encode(start));
    }
    if page.truncated {
        element(xml, "NextContinuationToken", &BASE64.encode(&page.last));
    }
}

fn write_entry(xml: &mut String, key: &str, object: &Object) {
    xml.push_str("<Contents>");
    element(xml, "Key", key);
    element(xml, "LastModified", &object.modified().rfc3339());
    element(xml, "ETag", &object.quoted_etag());
    element(xml, "Size", &object.size.to_string());
    element(xml, "StorageClass", "STANDARD");
    xml.push_str("</Contents>");
}

fn decode_token(token: &str) -> Result<String, S3Error> {
    let bytes = BASE64.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| S3Error::invalid_argument("The continuation token provided is incorrect"))
}

fn collect(bucket: &Bucket, question: &Question) -> Result<Page, S3Error> {
    let mut page = Page::default();
    if question.max == 0 {
        return Ok(page);
    }
    let start = question.prefix.clone().max(question.after.clone());
    bucket.scan(&start, |key, object| {
        if key == question.after && !key.is_empty() {
            return Scan::Next;
        }
        let Some(rest) = key.strip_prefix(question.prefix.as_str()) else { return Scan::Stop };
        let group = rest.find(question.delimiter.as_str()).filter(|_| !question.delimiter.is_empty());
        let group = group.map(|at| &key[..question.prefix.len() + at + question.delimiter.len()]);
        // After a page that ended with a common prefix, the next page begins behind all of its keys.
        if let Some(prefix) = group.filter(|prefix| *prefix == question.after) {
            return Scan::SkipTo(behind(prefix));
        }
        if page.contents.len() + page.prefixes.len() == question.max {
            page.truncated = true;
            return Scan::Stop;
        }
        group.unwrap_or(key).clone_into(&mut page.last);
        if let Some(prefix) = group {
            page.prefixes.push(prefix.to_owned());
            return Scan::SkipTo(behind(prefix));
        }
        page.contents.push((key.to_owned(), object.clone()));
        Scan::Next
    })?;
    Ok(page)
}

/// A text that comes after every key with this prefix. No key holds the last code point, because it is no character.
fn behind(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        clock::Clock,
        s3::{
            bucket::Condition,
            object::{Description, Object},
            store::Store,
        },
    };

    /// A bucket of 100,000 keys in 100 folders. Each page is compared with a sorted set.
    #[test]
    fn hundred_thousand_keys_are_paged_through_with_and_without_delimiter() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned(), Clock::start()).unwrap();
        store.create("lake").unwrap();
        let bucket = store.get("lake").unwrap();
        let mut keys = BTreeSet::new();
        for index in 0..100_000_u64 {
            // The keys come in no order, and some lie between the folders.
            let number = index * 7_919 % 100_000;
            let key =
                if number % 1_000 == 0 { format!("t/{number}") } else { format!("t/dt={:02}/{number}", number % 100) };
            let object = Object {
                size: 0,
                etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
                modified_ms: 0,
                checksum: None,
                description: Description::default(),
            };
            let write = bucket.begin(&key, Condition::Always);
            bucket.commit(&key, store.scratch().unwrap(), object, &write).unwrap();
            keys.insert(key);
        }
        let mut question = Question { prefix: "t/".to_owned(), max: 1000, ..Question::default() };
        let mut listed = Vec::new();
        loop {
            let page = collect(&bucket, &question).unwrap();
            listed.extend(page.contents.into_iter().map(|(key, _)| key));
            if !page.truncated {
                break;
            }
            question.after = page.last;
        }
        assert!(listed.iter().eq(keys.iter()), "every key once, in order");

        let grouped: BTreeSet<String> = keys
            .iter()
            .map(|key| key[2..].find('/').map_or_else(|| key.clone(), |at| key[..at + 3].to_owned()))
            .collect();
        let mut question = Question { delimiter: "/".to_owned(), max: 7, after: String::new(), ..question };
        let mut listed = BTreeSet::new();
        loop {
            let page = collect(&bucket, &question).unwrap();
            let found: Vec<_> =
                page.prefixes.into_iter().chain(page.contents.into_iter().map(|(key, _)| key)).collect();
            assert!(found.len() <= 7);
            for name in found {
                assert!(listed.insert(name.clone()), "{name} twice");
            }
            if !page.truncated {
                break;
            }
            question.after = page.last;
        }
        assert_eq!(listed, grouped);
    }
}
