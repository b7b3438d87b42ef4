//! The errors of S3: code, HTTP status and message. This file does *not* own when an error occurs.

use std::{borrow::Cow, io};

use crate::{faults::FaultKind, sigv4::Refusal};

/// An error of a request or of one key of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Error {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
    /// The size of the object, if a range lies outside it.
    pub(crate) object_size: Option<u64>,
    /// The region to use instead, if this is the wrong one.
    pub(crate) region: Option<String>,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $message:literal;)*) => {
        impl S3Error {
            $($(#[$doc])* pub(crate) fn $name() -> Self { Self::new($status, $code, $message) })*
        }
    };
}

errors! {
    no_such_bucket = 404 "NoSuchBucket" "The specified bucket does not exist";
    no_such_key = 404 "NoSuchKey" "The specified key does not exist.";
    no_such_upload = 404 "NoSuchUpload" "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    bucket_owned = 409 "BucketAlreadyOwnedByYou" "Your previous request to create the named bucket succeeded and you already own it.";
    bucket_not_empty = 409 "BucketNotEmpty" "The bucket you tried to delete is not empty";
    invalid_bucket_name = 400 "InvalidBucketName" "The specified bucket is not valid.";
    key_too_long = 400 "KeyTooLongError" "Your key is too long";
    invalid_uri = 400 "InvalidURI" "Couldn't parse the specified URI.";
    precondition_failed = 412 "PreconditionFailed" "At least one of the pre-conditions you specified did not hold";
    conditional_conflict = 409 "ConditionalRequestConflict" "The conditional request cannot succeed due to a conflicting operation against this resource.";
    content_mismatch = 400 "XAmzContentSHA256Mismatch" "The provided 'x-amz-content-sha256' header does not match what was computed.";
    /// The object of a conditional read has not changed, so the caller has it already.
    not_modified = 304 "NotModified" "Not Modified";
    invalid_digest = 400 "InvalidDigest" "The Content-MD5 you specified was invalid.";
    bad_digest = 400 "BadDigest" "The Content-MD5 or checksum value that you specified did not match what the server received.";
    incomplete_body = 400 "IncompleteBody" "You did not provide the number of bytes specified by the Content-Length HTTP header";
    too_large = 400 "EntityTooLarge" "Your proposed upload exceeds the maximum allowed object size.";
    part_too_small = 400 "EntityTooSmall" "Your proposed upload is smaller than the minimum allowed object size.";
    invalid_part = 400 "InvalidPart" "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.";
    invalid_part_order = 400 "InvalidPartOrder" "The list of parts was not in ascending order. The parts list must be specified in order by part number.";
    malformed_xml = 400 "MalformedXML" "The XML you provided was not well-formed or did not validate against our published schema";
    metadata_too_large = 400 "MetadataTooLarge" "Your metadata headers exceed the maximum allowed metadata size";
    illegal_location = 400 "IllegalLocationConstraintException" "The location constraint is incompatible for the region specific endpoint this request was sent to.";
    not_implemented = 501 "NotImplemented" "A header or query you provided implies functionality that is not implemented";
    method_not_allowed = 405 "MethodNotAllowed" "The specified method is not allowed against this resource.";
}

impl S3Error {
    fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: code.into(), message: message.into(), object_size: None, region: None }
    }

    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    pub(crate) fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }

    pub(crate) fn invalid_range(object_size: u64) -> Self {
        Self {
            object_size: Some(object_size),
            ..Self::new(416, "InvalidRange", "The requested range is not satisfiable")
        }
    }

    /// The bucket is in `region`, but the request was signed for another one.
    pub(crate) fn wrong_region(region: &str) -> Self {
        let message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please \
                       send all future requests to this endpoint.";
        Self { region: Some(region.to_owned()), ..Self::new(301, "PermanentRedirect", message) }
    }

    pub(crate) fn unsigned(refusal: &Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::Missing => (403, "AccessDenied"),
            Refusal::Incomplete(_) => (400, "AuthorizationHeaderMalformed"),
            Refusal::UnknownKey(_) => (403, "InvalidAccessKeyId"),
            Refusal::Expired => (403, "RequestTimeTooSkewed"),
            Refusal::Mismatch => (403, "SignatureDoesNotMatch"),
        };
        Self::new(status, code, refusal.to_string())
    }

    pub(crate) fn denied(action: &str, resource: &str) -> Self {
        let account = crate::ACCOUNT;
        let message = format!(
            "User: arn:aws:iam::{account}:user/local is not authorized to perform: {action} on resource: \
             \"{resource}\" because no identity-based policy allows the {action} action"
        );
        Self::new(403, "AccessDenied", message)
    }

    /// The words in which S3 reports a fault.
    pub(crate) fn from_fault(kind: &FaultKind) -> Self {
        match kind {
            FaultKind::Throttling | FaultKind::SlowDown => {
                Self::new(503, "SlowDown", "Please reduce your request rate.")
            }
            FaultKind::InternalError | FaultKind::Status(500) => Self::internal(),
            FaultKind::Status(status) => {
                Self::new(*status, "ServiceUnavailable", "Service is unable to handle request.")
            }
            FaultKind::Code { status, code } => Self::new(*status, code.clone(), "A fault was asked for."),
        }
    }

    fn internal() -> Self {
        Self::new(500, "InternalError", "We encountered an internal error. Please try again.")
    }
}

impl From<io::Error> for S3Error {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "failed to use the data directory");
        Self::internal()
    }
}
