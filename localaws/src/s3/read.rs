//! Reads an object: conditions, ranges, and the headers that describe the answer. This file does *not* own writing.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    sync::Arc,
};

use hyper::{Response, StatusCode};

use super::{
    bucket::Bucket,
    error::S3Error,
    object::{Object, set},
    request::Call,
};
use crate::{body::ReplyBody, clock::Millis};

/// Answers `GetObject`.
pub(crate) fn get(bucket: &Bucket, call: &Call) -> Result<Response<ReplyBody>, S3Error> {
    let (object, file) = bucket.open(&call.key)?;
    reply(call, &object, Some(file))
}

/// Answers `HeadObject`.
pub(crate) fn head(bucket: &Bucket, call: &Call) -> Result<Response<ReplyBody>, S3Error> {
    let object = bucket.head(&call.key)?;
    reply(call, &object, None)
}

fn reply(call: &Call, object: &Arc<Object>, file: Option<File>) -> Result<Response<ReplyBody>, S3Error> {
    check(call, object)?;
    let range = call.header("range").map(|text| parse_range(text, object.size)).transpose()?.flatten();
    let (start, length) = range.unwrap_or((0, object.size));
    let body = match file {
        Some(mut file) => {
            file.seek(SeekFrom::Start(start))?;
            ReplyBody::file(file, length)
        }
        None => ReplyBody::empty(),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    object.description.write(headers);
    set(headers, "etag", &object.quoted_etag());
    set(headers, "last-modified", &object.modified().http_date());
    set(headers, "accept-ranges", "bytes");
    set(headers, "content-length", &length.to_string());
    match &object.checksum {
        // A range of an object has no checksum of its own.
        Some(checksum) if range.is_none() && call.header("x-amz-checksum-mode").is_some() => {
            set(headers, checksum.algorithm.header(), &checksum.value);
            set(headers, "x-amz-checksum-type", checksum.kind());
        }
        _ => {}
    }
    if range.is_some() {
        set(headers, "content-range", &format!("bytes {start}-{}/{}", start + length - 1, object.size));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// RFC 9110, section 13.2.2: entity tags go before dates.
fn check(call: &Call, object: &Object) -> Result<(), S3Error> {
    let date = |name: &str| {
        let timestamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(call.header(name)?).ok()?;
        Some(Millis(timestamp.as_millisecond() as u64))
    };
    // HTTP dates have no fractions.
    let modified = Millis(object.modified_ms / 1000 * 1000);
    match call.header("if-match") {
        Some(tags) if !object.is_named_by(tags) => return Err(S3Error::precondition_failed()),
        None if date("if-unmodified-since").is_some_and(|since| modified > since) => {
            return Err(S3Error::precondition_failed());
        }
        _ => {}
    }
    match call.header("if-none-match") {
        Some(tags) if object.is_named_by(tags) => Err(S3Error::not_modified()),
        None if date("if-modified-since").is_some_and(|since| modified <= since) => Err(S3Error::not_modified()),
        _ => Ok(()),
    }
}

/// The start and length of a range. `None` if the header must be ignored, as one with several ranges is.
fn parse_range(text: &str, size: u64) -> Result<Option<(u64, u64)>, S3Error> {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(end)) if end < start => return Ok(None),
        (Some(start), Some(end)) => (start, end.min(size.saturating_sub(1))),
        (Some(start), None) if last.is_empty() => (start, size.saturating_sub(1)),
        (None, Some(suffix)) if first.is_empty() => {
            let start = if suffix == 0 { size } else { size.saturating_sub(suffix) };
            (start, size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if start >= size { Err(S3Error::invalid_range(size)) } else { Ok(Some((start, end - start + 1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_to_the_object() {
        for (text, expected) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=-10", Some((90, 10))),
            ("bytes=-200", Some((0, 100))),
            ("bytes=99-", Some((99, 1))),
            ("bytes=50-1000", Some((50, 50))),
            ("bytes=9-0", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(parse_range(text, 100), Ok(expected), "{text}");
        }
    }

    #[test]
    fn ranges_outside_the_object_are_errors() {
        for (text, size) in [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-0", 0)] {
            assert_eq!(parse_range(text, size), Err(S3Error::invalid_range(size)), "{text}");
        }
    }
}
