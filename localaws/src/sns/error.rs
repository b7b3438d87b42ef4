//! The errors of SNS: code, HTTP status and message. This file does *not* own when an error occurs.

use std::borrow::Cow;

use crate::{faults::FaultKind, sigv4::Refusal};

/// An error of a request or of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnsError {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl SnsError {
    fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// A parameter that is missing or has an invalid value.
    pub(crate) fn invalid(parameter: &str, reason: &str) -> Self {
        Self::new(400, "InvalidParameter", format!("Invalid parameter: {parameter} Reason: {reason}"))
    }

    pub(crate) fn no_topic() -> Self {
        Self::new(404, "NotFound", "Topic does not exist")
    }

    pub(crate) fn no_subscription() -> Self {
        Self::new(404, "NotFound", "Subscription does not exist")
    }

    pub(crate) fn empty_batch() -> Self {
        Self::new(400, "EmptyBatchRequest", "The batch request doesn't contain any entries.")
    }

    pub(crate) fn too_many_entries() -> Self {
        Self::new(400, "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
    }

    pub(crate) fn ids_not_distinct() -> Self {
        let message = "Two or more batch entries in the request have the same Id.";
        Self::new(400, "BatchEntryIdsNotDistinct", message)
    }

    pub(crate) fn invalid_entry_id() -> Self {
        let message = "The Id of a batch entry in a batch request doesn't abide by the specification.";
        Self::new(400, "InvalidBatchEntryId", message)
    }

    pub(crate) fn batch_too_long() -> Self {
        Self::new(
            400,
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        )
    }

    pub(crate) fn filter_policy(reason: &str) -> Self {
        Self::invalid("FilterPolicy:", reason)
    }

    pub(crate) fn unknown_action(action: &str) -> Self {
        Self::new(400, "InvalidAction", format!("The action {action} is not known here."))
    }

    pub(crate) fn too_long(detail: &str) -> Self {
        Self::new(413, "RequestEntityTooLarge", detail)
    }

    pub(crate) fn unsigned(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::Missing => "MissingAuthenticationToken",
            Refusal::Incomplete(_) => "IncompleteSignature",
            Refusal::UnknownKey(_) => "InvalidClientTokenId",
            Refusal::Expired | Refusal::Mismatch => "SignatureDoesNotMatch",
        };
        Self::new(403, code, refusal.to_string())
    }

    pub(crate) fn denied(action: &str, resource: &str) -> Self {
        // SNS writes its own name in capitals here.
        let action = action.replace("sns:", "SNS:");
        let account = crate::ACCOUNT;
        let message = format!(
            "User: arn:aws:iam::{account}:user/local is not authorized to perform: {action} on resource: {resource} because \
             no identity-based policy allows the {action} action"
        );
        Self::new(403, "AuthorizationError", message)
    }

    /// The words in which SNS reports a fault.
    pub(crate) fn from_fault(kind: &FaultKind) -> Self {
        match kind {
            FaultKind::Throttling | FaultKind::SlowDown => Self::new(400, "Throttling", "Rate exceeded"),
            FaultKind::InternalError | FaultKind::Status(500) => {
                Self::new(500, "InternalError", "We encountered an internal error.")
            }
            FaultKind::Status(status) => {
                Self::new(*status, "ServiceUnavailable", "The service is unavailable; please try again.")
            }
            FaultKind::Code { status, code } => Self::new(*status, code.clone(), "A fault was asked for."),
        }
    }
}
