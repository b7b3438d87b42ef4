//! Signs requests that differ only in body, length and date (Signature Version 4).
//!
//! Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide. The SDK computes all anew
//! for every request. This file keeps what stays the same, so two hashes and a MAC are left. It makes a [`Signature`]
//! only from a request that the SDK has signed, and only if both results are equal.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs requests like one that the SDK has signed, on the same day.
pub(super) struct Signature {
    /// The canonical request up to its headers.
    start: String,
    headers: Vec<(String, Value)>,
    /// The headers' names.
    signed: String,
    /// `20261123/eu-west-1/sqs/aws4_request`.
    scope: String,
    key: Vec<u8>,
    /// The authorization up to the signature.
    authorization: String,
}

/// The value of a signed header.
enum Value {
    Same(String),
    Date,
    Length,
}

impl Signature {
    /// Learns from `request`, which the SDK has signed with `secret`. `None` if it was signed in another way.
    pub(super) fn of(request: &HttpRequest, secret: &str) -> Option<Self> {
        let headers = request.headers();
        // AWS4-HMAC-SHA256 Credential=KEY/20261123/eu-west-1/sqs/aws4_request, SignedHeaders=content-length;host,
        // Signature=0..f
        let signed_as = headers.get("authorization")?;
        let (authorization, signature) = signed_as.split_once("Signature=")?;
        let (credential, rest) = authorization.strip_prefix(ALGORITHM)?.split_once(", SignedHeaders=")?;
        let (_, scope) = credential.strip_prefix(" Credential=")?.split_once('/')?;
        let signed = rest.strip_suffix(", ")?;
        let [day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
        let date = headers.get("x-amz-date")?;

        let uri: hyper::Uri = request.uri().parse().ok()?;
        let value = |name: &str| match name {
            "x-amz-date" => Some(Value::Date),
            "content-length" => Some(Value::Length),
            "host" => Some(Value::Same(uri.authority()?.as_str().to_owned())),
            name => Some(Value::Same(headers.get(name)?.to_owned())),
        };
        let found = Self {
            start: format!("{}\n{}\n{}\n", request.method(), uri.path(), uri.query().unwrap_or_default()),
            headers: signed.split(';').map(|name| Some((name.to_owned(), value(name)?))).collect::<Option<_>>()?,
            signed: signed.to_owned(),
            scope: scope.to_owned(),
            key: generate_signing_key(secret, time_of(date)?, region, service).as_ref().to_vec(),
            authorization: format!("{authorization}Signature="),
        };
        let body = std::str::from_utf8(request.body().bytes()?).ok()?;
        let same =
            date.starts_with(day) && found.sign(body, date)?.strip_prefix(&found.authorization) == Some(signature);
        same.then_some(found)
    }

    /// The authorization of a request with `body`, sent at `date`. `None` if that is another day.
    pub(super) fn sign(&self, body: &str, date: &str) -> Option<String> {
        if date.get(..8) != self.scope.get(..8) {
            return None;
        }
        let mut canonical = self.start.clone();
        for (name, value) in &self.headers {
            match value {
                Value::Same(value) => writeln!(canonical, "{name}:{value}"),
                Value::Date => writeln!(canonical, "{name}:{date}"),
                Value::Length => writeln!(canonical, "{name}:{}", body.len()),
            }
            .ok()?;
        }
        write!(canonical, "\n{}\n{}", self.signed, hash(body)).ok()?;
        let to_sign = format!("{ALGORITHM}\n{date}\n{}\n{}", self.scope, hash(&canonical));
        let mut authorization = self.authorization.clone();
        authorization.push_str(&calculate_signature(&self.key, to_sign.as_bytes()));
        Some(authorization)
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Signature").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A time as signatures write it: `20261123T101530Z`.
pub(super) fn date_of(time: SystemTime) -> Option<String> {
    Some(Timestamp::try_from(time).ok()?.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// The opposite of [`date_of`].
pub(super) fn time_of(date: &str) -> Option<SystemTime> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    SystemTime::try_from(Offset::UTC.to_timestamp(date).ok()?).ok()
}

/// SHA-256, in hexadecimal.
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    Sha256::digest(text).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    const SECRET: &str = "secret";
    const DATE: &str = "20261123T101530Z";

    /// Signed by the SDK's signer.
    fn signed(body: &str, token: Option<&str>, date: &str) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").unwrap();
        request.set_uri("https://sqs.eu-west-1.amazonaws.com/").unwrap();
        let length = body.len().to_string();
        for (name, value) in [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "AmazonSQS.X"),
            ("content-length", &length),
        ] {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let identity = Credentials::new("AKID", SECRET, token.map(str::to_owned), None, "test").into();
        let params = SigningParams::builder().identity(&identity).region("eu-west-1").name("sqs");
        let params = params.time(time_of(date).unwrap()).settings(SigningSettings::default()).build().unwrap();
        let signable =
            SignableRequest::new("POST", request.uri(), request.headers().iter(), SignableBody::Bytes(body.as_bytes()));
        let (signature, _) = sign(signable.unwrap(), &params.into()).unwrap().into_parts();
        for header in signature.into_parts().0 {
            request.headers_mut().insert(header.name(), header.value().to_owned());
        }
        request
    }

    #[test]
    fn signature_of_another_body_at_another_time_is_that_of_the_sdk() {
        for token in [None, Some("a session")] {
            let signature = Signature::of(&signed("{}", token, DATE), SECRET).unwrap();
            for (body, date) in [("{}", DATE), ("{\"a\":\"b\"}", "20261123T235959Z"), ("", "20261123T000000Z")] {
                let expected = signed(body, token, date);
                assert_eq!(signature.sign(body, date).as_deref(), expected.headers().get("authorization"));
            }
        }
    }

    #[test]
    fn key_of_one_day_signs_nothing_on_the_next() {
        let signature = Signature::of(&signed("{}", None, DATE), SECRET).unwrap();
        assert_eq!(signature.sign("{}", "20261124T000000Z"), None);
    }

    #[test]
    fn request_that_was_signed_otherwise_is_not_repeated() {
        assert!(Signature::of(&signed("{}", None, DATE), "another secret").is_none());
        let with = |name: &'static str, value: &str| {
            let mut request = signed("{}", None, DATE);
            request.headers_mut().insert(name, value.to_owned());
            request
        };
        let authorization = signed("{}", None, DATE).headers().get("authorization").unwrap().to_owned();
        let other = authorization.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
        assert!(Signature::of(&with("authorization", &other), SECRET).is_none());
        assert!(Signature::of(&with("authorization", "Bearer token"), SECRET).is_none());
        assert!(Signature::of(&with("x-amz-target", "AmazonSQS.Y"), SECRET).is_none());
        assert!(Signature::of(&with("authorization", &authorization), SECRET).is_some());
    }

    #[test]
    fn times_are_written_and_read_alike() {
        assert_eq!(date_of(time_of(DATE).unwrap()).as_deref(), Some(DATE));
    }
}
