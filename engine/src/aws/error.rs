//! What an error of AWS means: whether the engine tries again, and what the operator can do.
//!
//! This file owns the classification, which all three services share. It does *not* own errors that are part of a
//! protocol, such as the failed precondition of a conditional PUT: the adapter handles those before it asks here.

use std::error::Error;
use std::iter::successors;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

const THROTTLED: &[&str] = &[
    "KMS.ThrottlingException",
    "KMSThrottling",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
/// SQS: "the maximum number of in flight messages is reached". Only short polls get this answer.
const OVER_LIMIT: &[&str] = &["AWS.SimpleQueueService.OverLimit", "OverLimit"];
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "KMS.AccessDeniedException",
    "KMSAccessDenied",
    "KmsAccessDenied",
];
/// Denied by the key with which the service encrypts, and not by the service.
const KEY_DENIED: &[&str] = &["KMS.AccessDeniedException", "KMSAccessDenied", "KmsAccessDenied"];
const REFUSED_CREDENTIALS: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// The time of the signature is too far from the service's.
const SKEWED: &[&str] = &["RequestExpired", "RequestTimeTooSkewed"];
/// The same, if only the text tells. The code is that of any wrong signature: `InvalidSignatureException`,
/// `SignatureDoesNotMatch`, or from some services `AccessDeniedException`.
const SKEWED_TEXTS: &[&str] = &["signature expired", "signature not yet current"];
/// 400s for a request that is not wrong: its body came too slowly, or the one before is still under way.
const TRANSIENT: &[&str] = &["PriorRequestNotComplete", "RequestTimeout", "RequestTimeoutException"];
/// With these 400s, S3 says that a bucket is in another region. The answer to a HEAD has no code.
const REDIRECTS: &[&str] = &["", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"];
const NOT_FOUND: &[&str] = &[
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchKey",
    "NotFound",
    "NotFoundException",
    "QueueDoesNotExist",
];

/// Why a request failed, in the kinds that callers have to tell apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the fields are")]
pub enum Trouble {
    /// Too many requests. Retry, later.
    #[error("throttled: too many requests; this passes by itself")]
    Throttled,
    /// A queue allows no more messages in flight. Retry, after some were deleted.
    #[error("the queue allows no more messages in flight; this passes when some are deleted")]
    OverLimit,
    /// The service is up and cannot answer now: 5xx, or an answer that makes no sense. Retry.
    #[error("the service failed: {detail}; this usually passes")]
    Unavailable { detail: String },
    /// No answer within the attempt's deadline. Retry.
    #[error("no answer in time: {detail}; see `aws.attempt_timeout` and the network")]
    Timeout { detail: String },
    /// No connection. Retry: a network comes back.
    #[error("no connection: {detail}; check the network, `aws.region` and the endpoint URL")]
    Unreachable { detail: String },
    /// A source of credentials exists and failed. A metadata service does that at times. Retry.
    #[error(
        "failed to load AWS credentials: {detail}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose an AWS_PROFILE, or \
         attach a role"
    )]
    Credentials { detail: String },
    /// No source of credentials has any.
    #[error(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose an AWS_PROFILE, or run where a role \
         is attached"
    )]
    NoCredentials,
    /// The credentials were understood and refused.
    #[error("credentials refused: {detail}; they are wrong, expired, or from another account")]
    RefusedCredentials { detail: String },
    /// The clocks differ by more than the service accepts. Retry: the SDK learns the difference from the answer, and
    /// signs with it from then on.
    #[error("the clock is off: {detail}; set this machine's clock (NTP)")]
    ClockOff { detail: String },
    /// Nothing names a region.
    #[error("no AWS region: set `aws.region`, --region or AWS_REGION")]
    NoRegion,
    /// The identity may not do this.
    #[error("access denied: the role needs {action}{detail}")]
    Denied { action: String, detail: String },
    /// The queue, bucket, object or topic of the request does not exist.
    #[error("not found")]
    NotFound,
    /// The queue, bucket or topic of the request is in another region.
    #[error("wrong region: it is in {actual}; set `aws.region` or --region")]
    WrongRegion { actual: String },
    /// The endpoint does not understand JSON requests: it speaks an older protocol of SQS, or is no queue service at
    /// all.
    #[error(
        "the endpoint does not speak SQS's JSON protocol ({detail}): check the endpoint URL; some substitutes of SQS speak only \
         its older query protocol, and ticklake needs one that speaks JSON"
    )]
    NotJson { detail: String },
    /// Anything else. Another try does not help.
    #[error("{detail}")]
    Other { detail: String },
}

impl Trouble {
    /// What `error` means; `action` is the IAM action that the request needs, such as `s3:PutObject`.
    pub fn of<E>(error: &SdkError<E, HttpResponse>, action: &str) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) if action.starts_with("sqs:") && is_foreign(service.raw()) => {
                Self::NotJson { detail: outline(service.raw()) }
            }
            SdkError::ServiceError(service) => {
                let answer = Answer {
                    status: service.raw().status().as_u16(),
                    code: service.err().code().unwrap_or_default(),
                    message: service.err().message().unwrap_or_default(),
                    bucket_region: service.raw().headers().get("x-amz-bucket-region"),
                };
                answer.trouble(action)
            }
            SdkError::TimeoutError(_) => Self::Timeout { detail: root_cause(error) },
            SdkError::ResponseError(response) if action.starts_with("sqs:") && is_foreign(response.raw()) => {
                Self::NotJson { detail: outline(response.raw()) }
            }
            SdkError::ResponseError(_) => Self::Unavailable { detail: root_cause(error) },
            // The SDK marks errors that it would retry itself, such as a connection that closed in the middle of an
            // answer.
            SdkError::DispatchFailure(failure)
                if failure.is_io() || failure.is_timeout() || failure.as_other().is_some() =>
            {
                Self::Unreachable { detail: root_cause(error) }
            }
            _ => Self::before_sending(error),
        }
    }

    /// Whether the same request may succeed later by itself.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::OverLimit
                | Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::Unreachable { .. }
                | Self::Credentials { .. }
                | Self::ClockOff { .. }
        )
    }

    /// A request that never left: no credentials, no region, or one that could not be built.
    fn before_sending(error: &(dyn Error + 'static)) -> Self {
        if let Some(credentials) = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
            return match credentials {
                CredentialsError::CredentialsNotLoaded(_) => Self::NoCredentials,
                other => Self::Credentials { detail: root_cause(other) },
            };
        }
        let detail = DisplayErrorContext(error).to_string();
        // The endpoint rules of the SDK raise this as text only.
        if detail.contains("Missing Region") || detail.contains("region must be set") {
            return Self::NoRegion;
        }
        Self::Other { detail: root_cause(error) }
    }
}

/// The parts of an error response that tell what it means.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    status: u16,
    /// Empty for the answer to a HEAD request, which has no body.
    code: &'a str,
    message: &'a str,
    bucket_region: Option<&'a str>,
}

impl Answer<'_> {
    fn trouble(self, action: &str) -> Trouble {
        let Self { status, code, message, bucket_region } = self;
        let is = |codes: &[&str]| codes.contains(&code);
        // S3 also sends the header when the region is right. So it counts only if the region can be the reason.
        let is_redirect = status == 301 || status == 307 || (status == 400 && is(REDIRECTS));
        match bucket_region {
            Some(actual) if is_redirect => return Trouble::WrongRegion { actual: actual.to_owned() },
            None if status == 301 => return Trouble::WrongRegion { actual: "another region".to_owned() },
            _ => {}
        }
        if is(THROTTLED) || status == 429 {
            Trouble::Throttled
        } else if is(OVER_LIMIT) {
            Trouble::OverLimit
        } else if is(SKEWED) || self.says_skewed() {
            Trouble::ClockOff { detail: self.text() }
        } else if is(REFUSED_CREDENTIALS) {
            Trouble::RefusedCredentials { detail: self.text() }
        } else if is(DENIED) || status == 403 {
            let detail = if message.is_empty() { String::new() } else { format!(" ({message})") };
            Trouble::Denied { action: self.denied(action), detail }
        } else if is(NOT_FOUND) || status == 404 {
            Trouble::NotFound
        } else if status >= 500 || is(TRANSIENT) {
            Trouble::Unavailable { detail: self.text() }
        } else {
            Trouble::Other { detail: self.text() }
        }
    }

    /// The IAM action that is missing: `action`, or the one on the key of an encrypted queue, bucket or topic, which
    /// the text names or the code implies.
    fn denied(self, action: &str) -> String {
        let named = self.message.split_once("not authorized to perform: ").map_or("", |(_, rest)| rest);
        let named = named.split([' ', ',']).next().unwrap_or_default();
        if named.starts_with("kms:") {
            return named.to_owned();
        }
        let is_of_key = KEY_DENIED.contains(&self.code);
        match action {
            "sqs:ReceiveMessage" | "s3:GetObject" if is_of_key => "kms:Decrypt".to_owned(),
            _ if is_of_key => "kms:GenerateDataKey and kms:Decrypt".to_owned(),
            _ => action.to_owned(),
        }
    }

    fn says_skewed(self) -> bool {
        let message = self.message.to_ascii_lowercase();
        SKEWED_TEXTS.iter().any(|text| message.contains(text))
    }

    fn text(self) -> String {
        match (self.code, self.message) {
            ("", "") => format!("HTTP status {}", self.status),
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// Whether an answer to a JSON request is not JSON. Denials, throttling and failures do not count: a gateway may answer
/// those in the service's place.
fn is_foreign(response: &HttpResponse) -> bool {
    let status = response.status().as_u16();
    let text = response.body().bytes().unwrap_or_default().trim_ascii_start();
    !text.is_empty() && text[0] != b'{' && matches!(status, 200..=299 | 400 | 404 | 405 | 415 | 501)
}

/// An answer in a few words.
fn outline(response: &HttpResponse) -> String {
    let kind = response.headers().get("content-type").unwrap_or("no content type");
    let text = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    let begin: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect();
    format!("it answered HTTP status {}, {kind}, {:?}", response.status().as_u16(), begin.trim())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The last error of the chain, which says what happened; those above it only say where.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, bucket_region: Option<&str>) -> Trouble {
        Answer { status, code, message: "", bucket_region }.trouble("s3:PutObject")
    }

    #[test]
    fn answers_are_told_apart() {
        let denied = Trouble::Denied { action: "s3:PutObject".to_owned(), detail: String::new() };
        assert_eq!(answer(403, "", None), denied, "a HEAD has no code");
        assert_eq!(answer(400, "AccessDeniedException", None), denied, "SQS denies with 400");
        assert_eq!(answer(404, "", None), Trouble::NotFound);
        assert_eq!(answer(400, "AWS.SimpleQueueService.NonExistentQueue", None), Trouble::NotFound);
        assert_eq!(answer(503, "SlowDown", None), Trouble::Throttled);
        assert_eq!(answer(400, "ThrottlingException", None), Trouble::Throttled);
        assert_eq!(answer(403, "OverLimit", None), Trouble::OverLimit);
        assert!(matches!(answer(500, "InternalError", None), Trouble::Unavailable { .. }));
        assert!(answer(400, "RequestTimeout", Some("eu-west-1")).is_retryable(), "whatever headers come with it");
        assert!(matches!(answer(403, "InvalidAccessKeyId", None), Trouble::RefusedCredentials { .. }));
        assert!(matches!(answer(400, "InvalidParameter", None), Trouble::Other { .. }));
    }

    #[test]
    fn clock_that_is_off_is_tried_again_and_a_wrong_secret_is_not() {
        let of =
            |code, message| Answer { status: 403, code, message, bucket_region: None }.trouble("sqs:ReceiveMessage");
        let early = "Signature not yet current: 20261201T010000Z is still later than 20261201T003000Z";
        let late =
            "Signature expired: 20261201T000000Z is now earlier than 20261201T000500Z (20261201T002000Z - 15 min.)";
        for (code, message) in [
            ("InvalidSignatureException", late),
            ("InvalidSignatureException", early),
            ("SignatureDoesNotMatch", late),
            ("AccessDeniedException", late),
            ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
            ("RequestExpired", ""),
        ] {
            let trouble = of(code, message);
            assert!(matches!(trouble, Trouble::ClockOff { .. }) && trouble.is_retryable(), "{trouble:?}");
        }
        let wrong = "The request signature we calculated does not match the signature you provided.";
        for (code, message) in [
            ("InvalidSignatureException", wrong),
            ("SignatureDoesNotMatch", wrong),
            ("ExpiredToken", "The security token included in the request is expired"),
        ] {
            let trouble = of(code, message);
            assert!(matches!(trouble, Trouble::RefusedCredentials { .. }) && !trouble.is_retryable(), "{trouble:?}");
        }
    }

    #[test]
    fn denied_action_is_that_of_the_key_where_the_key_denies() {
        let of = |code, message, action: &str| match (Answer { status: 400, code, message, bucket_region: None })
            .trouble(action)
        {
            Trouble::Denied { action, .. } => action,
            other => panic!("{other:?}"),
        };
        for code in KEY_DENIED {
            assert_eq!(of(code, "The ciphertext refers to a key", "sqs:ReceiveMessage"), "kms:Decrypt");
            assert_eq!(of(code, "", "sns:Publish"), "kms:GenerateDataKey and kms:Decrypt");
        }
        let text = "User: arn:aws:sts::123456789012:assumed-role/w/i is not authorized to perform: kms:GenerateDataKey on \
                    resource: arn:aws:kms:eu-west-1:123456789012:key/k because no identity-based policy allows the \
                    kms:GenerateDataKey action";
        assert_eq!(of("AccessDenied", text, "s3:PutObject"), "kms:GenerateDataKey");
        assert_eq!(of("AccessDenied", "Access Denied", "s3:PutObject"), "s3:PutObject");
    }

    #[test]
    fn wrong_region_names_the_right_one() {
        let actual = Trouble::WrongRegion { actual: "eu-west-1".to_owned() };
        assert_eq!(answer(301, "", Some("eu-west-1")), actual);
        assert_eq!(answer(400, "AuthorizationHeaderMalformed", Some("eu-west-1")), actual);
        assert_eq!(answer(404, "NoSuchKey", Some("eu-west-1")), Trouble::NotFound, "the header alone says nothing");
    }

    #[test]
    fn only_what_passes_by_itself_is_retried() {
        for code in ["SlowDown", "InternalError"] {
            assert!(answer(503, code, None).is_retryable(), "{code}");
        }
        for status in [301, 400, 403, 404] {
            assert!(!answer(status, "", None).is_retryable(), "{status}");
        }
        assert!(!Trouble::NoCredentials.is_retryable());
    }
}
