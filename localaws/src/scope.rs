//! The credential scope that a caller signed for: the region that the caller addresses.
//!
//! This file reads the scope from the `Authorization` header or from a presigned URL. Signatures are *not* verified
//! here.

use hyper::{HeaderMap, header};

/// The region in the credential scope of a request. `None` if the request is not signed with Signature Version 4.
pub(crate) fn region<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<&'a str> {
    let credential = match headers.get(header::AUTHORIZATION) {
        // Version 4A names a set of regions elsewhere. Its scope has no region to compare.
        Some(value) => value.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256 ")?.split_once("Credential=")?.1,
        None => query?.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?,
    };
    let credential = credential.split(',').next()?;
    // For example AKID/20261123/us-east-1/sqs/aws4_request. A presigned URL encodes the slashes. An access key has no
    // slash.
    let separator = if credential.contains("%2F") { "%2F" } else { "/" };
    credential.split(separator).nth(2).filter(|region| is_region(region))
}

/// Whether the text may be a region. Regions are names of folders here, so nothing else is allowed.
pub(crate) fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_read_from_the_header() {
        let mut headers = HeaderMap::new();
        let value =
            "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        assert_eq!(region(&headers, None), Some("eu-west-1"));
    }

    #[test]
    fn region_is_read_from_a_presigned_url() {
        let query = "X-Amz-Credential=AKID%2F20261123%2Fus-west-2%2Fs3%2Faws4_request&X-Amz-Date=20261123T000000Z";
        assert_eq!(region(&HeaderMap::new(), Some(query)), Some("us-west-2"));
    }

    #[test]
    fn unsigned_requests_other_schemes_and_odd_scopes_name_no_region() {
        let mut headers = HeaderMap::new();
        let odd = |region: &str| format!("X-Amz-Credential=A%2F20261123%2F{region}%2Fs3%2Faws4_request");
        for region in ["", "..", "%2E%2E", "US", "a/b", &"a".repeat(65)] {
            assert_eq!(super::region(&headers, Some(&odd(region))), None, "{region}");
        }
        assert_eq!(region(&headers, Some("list-type=2")), None);
        headers.insert(header::AUTHORIZATION, "Bearer Credential=a/b/c/d".parse().unwrap());
        assert_eq!(region(&headers, None), None);
    }
}
