//! Verifies Signature Version 4, in the `Authorization` header or in the query of a presigned URL.
//!
//! The canonical request is built as the IAM user guide says under "Create a signed AWS API request". The keys and the
//! HMACs are the SDK's. Signatures of single chunks of a streamed body are *not* verified, and Version 4A is not
//! supported.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use hyper::{HeaderMap, header, http::request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::hex::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far the clock of a caller may differ.
const SKEW_MAX: Duration = Duration::from_mins(15);

/// The longest validity of a presigned URL: a week.
const EXPIRES_MAX_SECONDS: u64 = 604_800;

/// The characters that a canonical request does not escape.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The same for a path, in which slashes are not escaped.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Request is missing Authentication Token")]
    Missing,
    #[error("The request signature is incomplete: {0}")]
    Incomplete(&'static str),
    #[error("The security token included in the request is invalid: there is no access key {0} here")]
    UnknownKey(String),
    #[error("Signature expired, or not yet current: the clocks differ by more than 15 minutes, or the URL is too old")]
    Expired,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method."
    )]
    Mismatch,
}

/// What a request says about its own signature.
struct Claim {
    key_id: String,
    /// `20261123/us-east-1/sqs/aws4_request`
    scope: String,
    /// `20261123T140000Z`
    date: String,
    signed_headers: String,
    signature: String,
    /// How long a presigned URL is valid.
    expires: Option<Duration>,
}

/// Verifies the signature of a request for one of `services`, or for any service if the list is empty. `body_digest` is
/// the SHA-256 of the body, in hexadecimal. S3's requests name the digest themselves, and may say that it is not
/// signed. S3 checks this digest when it reads the body.
pub(crate) fn verify(
    head: &Parts,
    body_digest: &str,
    services: &[&str],
    credentials: &BTreeMap<String, String>,
    now: SystemTime,
) -> Result<(), Refusal> {
    let query = head.uri.query().unwrap_or_default();
    let claim = match head.headers.get(header::AUTHORIZATION) {
        Some(value) => Claim::from_header(value.to_str().unwrap_or_default(), &head.headers)?,
        None => Claim::from_query(query)?,
    };
    let secret = credentials.get(&claim.key_id).ok_or_else(|| Refusal::UnknownKey(claim.key_id.clone()))?;
    let signed_at = instant(&claim.date).ok_or(Refusal::Incomplete("the date does not look like 20261123T140000Z"))?;
    check_time(signed_at, claim.expires, now)?;
    let [day, region, service, "aws4_request"] = claim.scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(Refusal::Incomplete("the credential's scope is not DATE/REGION/SERVICE/aws4_request"));
    };
    if !claim.date.starts_with(day) {
        return Err(Refusal::Incomplete("the credential's scope is of another day"));
    }
    if !services.is_empty() && !services.contains(&service) {
        return Err(Refusal::Incomplete("the credential's scope is of another service"));
    }
    check_signed_headers(&head.headers, &claim.signed_headers)?;
    let named = head.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    let payload = match named {
        _ if service != "s3" => body_digest,
        Some(named) => named,
        None if claim.expires.is_some() => "UNSIGNED-PAYLOAD",
        None => return Err(Refusal::Incomplete("x-amz-content-sha256 is missing")),
    };
    let canonical = canonical_request(head, &claim.signed_headers, payload);
    let to_sign = format!("{ALGORITHM}\n{}\n{}\n{}", claim.date, claim.scope, hex(&Sha256::digest(canonical)));
    let key = generate_signing_key(secret, signed_at, region, service);
    // A comparison in constant time is not needed: the secrets are those of a test.
    if calculate_signature(key, to_sign.as_bytes()) == claim.signature { Ok(()) } else { Err(Refusal::Mismatch) }
}

impl Claim {
    /// Reads `AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date,
    /// Signature=..`.
    fn from_header(value: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let rest = value.strip_prefix(ALGORITHM).ok_or(Refusal::Incomplete("the algorithm is not AWS4-HMAC-SHA256"))?;
        let parts = || rest.split(',').filter_map(|part| part.trim().split_once('='));
        let part = |name: &str| parts().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let (key_id, scope) = split_credential(part("Credential"))?;
        let date = headers.get("x-amz-date").or_else(|| headers.get(header::DATE));
        Ok(Self {
            key_id,
            scope,
            date: date.and_then(|date| date.to_str().ok()).unwrap_or_default().to_owned(),
            signed_headers: part("SignedHeaders").ok_or(Refusal::Incomplete("there are no SignedHeaders"))?,
            signature: part("Signature").ok_or(Refusal::Incomplete("there is no Signature"))?,
            expires: None,
        })
    }

    fn from_query(query: &str) -> Result<Self, Refusal> {
        let part = |name: &str| {
            let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            found.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
        };
        if part("X-Amz-Algorithm").ok_or(Refusal::Missing)? != ALGORITHM {
            return Err(Refusal::Incomplete("the algorithm is not AWS4-HMAC-SHA256"));
        }
        let (key_id, scope) = split_credential(part("X-Amz-Credential"))?;
        let expires = part("X-Amz-Expires").and_then(|seconds| seconds.parse().ok());
        let expires = expires.filter(|seconds| *seconds <= EXPIRES_MAX_SECONDS);
        Ok(Self {
            key_id,
            scope,
            date: part("X-Amz-Date").unwrap_or_default(),
            signed_headers: part("X-Amz-SignedHeaders").ok_or(Refusal::Incomplete("there are no SignedHeaders"))?,
            signature: part("X-Amz-Signature").ok_or(Refusal::Incomplete("there is no Signature"))?,
            expires: Some(Duration::from_secs(
                expires.ok_or(Refusal::Incomplete("X-Amz-Expires is not within a week of seconds"))?,
            )),
        })
    }
}

fn split_credential(credential: Option<String>) -> Result<(String, String), Refusal> {
    let credential = credential.ok_or(Refusal::Incomplete("there is no Credential"))?;
    let (key_id, scope) = credential.split_once('/').ok_or(Refusal::Incomplete("the Credential has no scope"))?;
    Ok((key_id.to_owned(), scope.to_owned()))
}

/// Checks that all AWS headers are signed. If a third party could add one to a signed request, that would change its
/// meaning.
fn check_signed_headers(headers: &HeaderMap, signed: &str) -> Result<(), Refusal> {
    let is_signed = |name: &str| signed.split(';').any(|signed| signed == name);
    if !is_signed("host") {
        return Err(Refusal::Incomplete("host is not signed"));
    }
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str())) {
        return Err(Refusal::Incomplete("there is an x-amz- header that is not signed"));
    }
    Ok(())
}

fn check_time(signed_at: SystemTime, expires: Option<Duration>, now: SystemTime) -> Result<(), Refusal> {
    let too_early = signed_at.duration_since(now).is_ok_and(|ahead| ahead > SKEW_MAX);
    let too_late = now.duration_since(signed_at).is_ok_and(|age| age > expires.unwrap_or(SKEW_MAX));
    if too_early || too_late { Err(Refusal::Expired) } else { Ok(()) }
}

/// The time of a text like `20261123T140000Z`.
fn instant(date: &str) -> Option<SystemTime> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let timestamp = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp.as_second()).ok()?))
}

fn canonical_request(head: &Parts, signed_headers: &str, payload: &str) -> String {
    let encode = |text: &str, set| utf8_percent_encode(&percent_decode_str(text).decode_utf8_lossy(), set).to_string();
    let mut pairs: Vec<(String, String)> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (encode(name, UNRESERVED), encode(&value.replace('+', "%20"), UNRESERVED)))
        .collect();
    pairs.sort();
    let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: String = signed_headers.split(';').map(|name| canonical_header(head, name)).collect();
    let path = encode(head.uri.path(), PATH);
    format!("{}\n{path}\n{}\n{headers}\n{signed_headers}\n{payload}", head.method, query.join("&"))
}

fn canonical_header(head: &Parts, name: &str) -> String {
    let plain = |value: &header::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let values: Vec<String> = head.headers.get_all(name).iter().map(plain).collect();
    format!("{name}:{}\n", values.join(","))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

    fn credentials() -> BTreeMap<String, String> {
        [(KEY.to_owned(), "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned())].into()
    }

    /// "GET Object" of the S3 API reference, "Signature Calculations for the Authorization Header".
    fn example() -> Parts {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let request = Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .header("x-amz-date", "20130524T000000Z")
            .header("authorization", authorization);
        request.body(()).unwrap().into_parts().0
    }

    /// The presigned URL of the related page, "Authenticating Requests: Using Query Parameters".
    fn presigned() -> Parts {
        let uri = format!(
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
        Request::get(uri).header("host", "examplebucket.s3.amazonaws.com").body(()).unwrap().into_parts().0
    }

    fn at(date: &str) -> SystemTime {
        instant(date).unwrap()
    }

    #[test]
    fn published_examples_are_verified() {
        assert_eq!(verify(&example(), "", &["s3"], &credentials(), at("20130524T001000Z")), Ok(()));
        assert_eq!(verify(&presigned(), "", &["s3"], &credentials(), at("20130524T230000Z")), Ok(()));
    }

    #[test]
    fn anything_that_was_signed_and_changed_is_noticed() {
        let mut head = example();
        head.headers.insert("range", "bytes=0-10".parse().unwrap());
        assert_eq!(verify(&head, "", &["s3"], &credentials(), at("20130524T000000Z")), Err(Refusal::Mismatch));
        let mut head = example();
        head.uri = "/test.txx".parse().unwrap();
        assert_eq!(verify(&head, "", &["s3"], &credentials(), at("20130524T000000Z")), Err(Refusal::Mismatch));
        let wrong = [(KEY.to_owned(), "secret".to_owned())].into();
        assert_eq!(verify(&example(), "", &["s3"], &wrong, at("20130524T000000Z")), Err(Refusal::Mismatch));
    }

    #[test]
    fn headers_of_aws_and_the_service_must_be_signed() {
        let now = at("20130524T000000Z");
        for mut head in [example(), presigned()] {
            head.headers.insert("x-amz-copy-source", "other/secret".parse().unwrap());
            assert!(matches!(verify(&head, "", &["s3"], &credentials(), now), Err(Refusal::Incomplete(_))));
        }
        assert!(matches!(verify(&example(), "", &["sqs"], &credentials(), now), Err(Refusal::Incomplete(_))));
        assert_eq!(verify(&example(), "", &[], &credentials(), now), Ok(()));
        let mut head = example();
        head.headers.remove("x-amz-content-sha256");
        assert!(matches!(verify(&head, "", &["s3"], &credentials(), now), Err(Refusal::Incomplete(_))));
    }

    #[test]
    fn old_and_future_signatures_have_expired() {
        for (head, now) in [
            (example(), "20130524T001501Z"),
            (example(), "20130523T234459Z"),
            (presigned(), "20130525T000001Z"),
            (presigned(), "20130523T234459Z"),
        ] {
            assert_eq!(verify(&head, "", &["s3"], &credentials(), at(now)), Err(Refusal::Expired), "{now}");
        }
    }

    #[test]
    fn strangers_and_half_signatures_are_refused() {
        let now = at("20130524T000000Z");
        assert_eq!(verify(&example(), "", &["s3"], &BTreeMap::new(), now), Err(Refusal::UnknownKey(KEY.to_owned())));
        let bare = Request::get("/").body(()).unwrap().into_parts().0;
        assert_eq!(verify(&bare, "", &["s3"], &credentials(), now), Err(Refusal::Missing));
        for value in [
            "Bearer x",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/x,SignedHeaders=host,Signature=0",
        ] {
            let mut head = example();
            head.headers.insert("authorization", value.parse().unwrap());
            assert!(matches!(verify(&head, "", &["s3"], &credentials(), now), Err(Refusal::Incomplete(_))), "{value}");
        }
    }
}
