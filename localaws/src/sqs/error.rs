//! The errors of SQS: the type in the body, the older code in the header that the SDKs prefer, and the HTTP status.
//!
//! This file does *not* own when an error occurs.

use std::borrow::Cow;

use crate::{faults::FaultKind, sigv4::Refusal};

/// An error of a request or of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqsError {
    pub(crate) status: u16,
    /// The shape's name, for `__type`.
    pub(crate) shape: Cow<'static, str>,
    /// The code of the query protocol, for `x-amzn-query-error` and for batch entries.
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
}

impl SqsError {
    fn sender(shape: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, shape: shape.into(), code: code.into(), message: message.into() }
    }

    /// Whether the caller is to blame.
    pub(crate) fn is_sender_fault(&self) -> bool {
        self.status < 500
    }

    pub(crate) fn no_such_queue() -> Self {
        Self::sender(
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist.",
        )
    }

    pub(crate) fn queue_exists(attribute: &str) -> Self {
        let message =
            format!("A queue already exists with the same name and a different value for attribute {attribute}");
        Self::sender("com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists", message)
    }

    pub(crate) fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::sender("com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue", message)
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        let message = format!("The request must contain the parameter {name}.");
        Self::sender("com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter", message)
    }

    pub(crate) fn invalid_attribute_name(name: &str) -> Self {
        let message = format!("Unknown Attribute {name}.");
        Self::sender("com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName", message)
    }

    pub(crate) fn invalid_attribute_value(name: &str) -> Self {
        let message = format!("Invalid value for the parameter {name}.");
        Self::sender("com.amazonaws.sqs#InvalidAttributeValue", "InvalidAttributeValue", message)
    }

    pub(crate) fn invalid_contents() -> Self {
        Self::sender(
            "com.amazonaws.sqs#InvalidMessageContents",
            "InvalidMessageContents",
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD \
             | #x10000 to #x10FFFF",
        )
    }

    pub(crate) fn too_many_entries(sent: usize) -> Self {
        let message = format!("Maximum number of entries per request are 10. You have sent {sent}.");
        Self::sender(
            "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            message,
        )
    }

    pub(crate) fn empty_batch() -> Self {
        Self::sender(
            "com.amazonaws.sqs#EmptyBatchRequest",
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "There should be at least one entry in the request.",
        )
    }

    pub(crate) fn ids_not_distinct(id: &str) -> Self {
        let message = format!("Id {id} repeated.");
        Self::sender(
            "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            message,
        )
    }

    pub(crate) fn invalid_entry_id() -> Self {
        Self::sender(
            "com.amazonaws.sqs#InvalidBatchEntryId",
            "AWS.SimpleQueueService.InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
             letters long.",
        )
    }

    pub(crate) fn batch_too_long(limit: usize, sent: usize) -> Self {
        let message = format!("Batch requests cannot be longer than {limit} bytes. You have sent {sent} bytes.");
        Self::sender("com.amazonaws.sqs#BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", message)
    }

    pub(crate) fn invalid_receipt() -> Self {
        Self::sender(
            "com.amazonaws.sqs#ReceiptHandleIsInvalid",
            "ReceiptHandleIsInvalid",
            "The input receipt handle is invalid.",
        )
    }

    pub(crate) fn not_in_flight() -> Self {
        Self::sender(
            "com.amazonaws.sqs#MessageNotInflight",
            "AWS.SimpleQueueService.MessageNotInflight",
            "The message referred to isn't in flight.",
        )
    }

    pub(crate) fn over_limit() -> Self {
        Self {
            status: 403,
            ..Self::sender("com.amazonaws.sqs#OverLimit", "OverLimit", "Too many messages in flight: 120000 at most.")
        }
    }

    pub(crate) fn purge_in_progress(queue: &str) -> Self {
        let message = format!("Only one PurgeQueue operation on {queue} is allowed every 60 seconds.");
        Self {
            status: 403,
            ..Self::sender(
                "com.amazonaws.sqs#PurgeQueueInProgress",
                "AWS.SimpleQueueService.PurgeQueueInProgress",
                message,
            )
        }
    }

    pub(crate) fn no_such_resource(message: impl Into<Cow<'static, str>>) -> Self {
        let error = Self::sender("com.amazonaws.sqs#ResourceNotFoundException", "ResourceNotFoundException", message);
        Self { status: 404, ..error }
    }

    pub(crate) fn unsupported(message: &'static str) -> Self {
        Self::sender("com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", message)
    }

    pub(crate) fn unknown_operation(name: &str) -> Self {
        let message = format!("The operation {name} is not known here.");
        Self::sender("com.amazon.coral.service#UnknownOperationException", "InvalidAction", message)
    }

    pub(crate) fn malformed(detail: &str) -> Self {
        let message = format!("The request is not what this operation takes: {detail}");
        Self::sender("com.amazon.coral.service#SerializationException", "MalformedInput", message)
    }

    pub(crate) fn access_denied(action: &str, resource: &str) -> Self {
        // Here SQS writes its actions in lower case, unlike the policy that would allow them.
        let action = action.to_ascii_lowercase();
        let message = format!(
            "User: arn:aws:iam::{account}:user/local is not authorized to perform: {action} on resource: {resource} because \
             no identity-based policy allows the {action} action",
            account = crate::ACCOUNT
        );
        Self { status: 403, ..Self::sender("com.amazon.coral.service#AccessDeniedException", "AccessDenied", message) }
    }

    pub(crate) fn unsigned(refusal: &Refusal) -> Self {
        let (shape, code) = match refusal {
            Refusal::Missing => {
                ("com.amazon.coral.service#MissingAuthenticationTokenException", "MissingAuthenticationToken")
            }
            Refusal::Incomplete(_) => ("com.amazon.coral.service#IncompleteSignatureException", "IncompleteSignature"),
            Refusal::UnknownKey(_) => ("com.amazon.coral.service#UnrecognizedClientException", "InvalidClientTokenId"),
            Refusal::Expired => ("com.amazon.coral.service#InvalidSignatureException", "RequestExpired"),
            Refusal::Mismatch => ("com.amazon.coral.service#InvalidSignatureException", "SignatureDoesNotMatch"),
        };
        Self { status: 403, ..Self::sender(shape, code, refusal.to_string()) }
    }

    /// An error whose cause is in this server.
    pub(crate) fn internal() -> Self {
        Self::from_fault(&FaultKind::InternalError)
    }

    /// The words in which SQS reports a fault.
    pub(crate) fn from_fault(kind: &FaultKind) -> Self {
        let (status, shape, code, message) = match kind {
            FaultKind::Throttling | FaultKind::SlowDown => {
                (400, "com.amazon.coral.availability#ThrottlingException", "ThrottlingException", "Rate exceeded")
            }
            FaultKind::InternalError | FaultKind::Status(500) => (
                500,
                "com.amazon.coral.service#InternalFailure",
                "InternalFailure",
                "We encountered an internal error.",
            ),
            FaultKind::Status(status) => (
                *status,
                "com.amazon.coral.service#ServiceUnavailableException",
                "ServiceUnavailable",
                "The service is unavailable; please try again.",
            ),
            FaultKind::Code { status, code } => (*status, code.as_str(), code.as_str(), "A fault was asked for."),
        };
        Self { status, shape: shape.to_owned().into(), code: code.to_owned().into(), message: message.into() }
    }
}
