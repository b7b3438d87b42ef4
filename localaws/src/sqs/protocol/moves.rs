//! The requests and answers of message-move tasks. It does *not* own any rule about their values.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct StartMoveRequest {
    pub(crate) source_arn: String,
    pub(crate) destination_arn: Option<String>,
    pub(crate) max_number_of_messages_per_second: Option<i64>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ListMovesRequest {
    pub(crate) source_arn: String,
    pub(crate) max_results: Option<i64>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CancelMoveRequest {
    pub(crate) task_handle: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StartedReply<'a> {
    pub(crate) task_handle: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CancelledReply {
    pub(crate) approximate_number_of_messages_moved: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MovesReply<'a> {
    pub(crate) results: Vec<MoveReply<'a>>,
}

/// One task. The answer has its handle only while it runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MoveReply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_handle: Option<&'a String>,
    pub(crate) status: &'static str,
    pub(crate) source_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_number_of_messages_per_second: Option<u64>,
    pub(crate) approximate_number_of_messages_moved: usize,
    pub(crate) approximate_number_of_messages_to_move: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure_reason: Option<&'static str>,
    pub(crate) started_timestamp: Millis,
}
