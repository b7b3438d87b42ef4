//! Checks the queue: it exists, its messages may be deleted and hidden, and it has a dead-letter queue.
//!
//! The check does *not* receive. That would raise a receive count, and could send a message to the dead-letter queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
};

use super::Findings;
use crate::aws::Clients;
use crate::aws::error::Trouble;
use crate::aws::place::{self, Place};

/// No queue ever gave this receipt. A role with the permission gets the answer that the receipt is not valid. A role
/// without it is denied first.
const BOGUS_RECEIPT: &str = "ticklake-check";

pub(super) async fn check(clients: &Clients, url: &str) -> Findings {
    let (sqs, mut findings) = (&clients.sqs, Findings::default());
    if let Some(trouble) = place::misplaced(url, region(sqs)) {
        findings.fail(format!("{url}: {trouble}"));
        return findings;
    }
    let named = Place::of(url);
    let asked = clients.sqs_endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'));
    match (asked, named.as_ref().and_then(Place::endpoint)) {
        (Some(asked), Some(named)) if asked != named => findings
            .note(format!("SQS is asked at {asked}, the configured endpoint, and not at {named}, the host of the URL")),
        (None, Some(named)) => findings.warn(format!(
            "SQS is asked at the endpoint of the region, and not at {named}, the host of the URL, because other queues are at \
             other hosts: run a worker for each host"
        )),
        _ => {}
    }
    match attributes(sqs, url).await {
        Ok(summary) => {
            if let Some(trouble) = denied_delete(sqs, url).await {
                findings.fail(format!("{url}: {trouble}"));
            }
            if let Some(trouble) = denied_visibility(sqs, url).await {
                findings.fail(format!("{url}: {trouble}"));
            }
            if !findings.failed() {
                findings.ok(format!("{url} ({}, visibility {} s)", summary.messages, summary.visibility_s));
            }
            if !summary.has_dead_letters {
                findings.warn(
                    "no dead-letter queue: a message that can never be processed comes back until its retention ends; \
                     set a RedrivePolicy",
                );
            }
            findings.note("sqs:ReceiveMessage is not tested, because that would raise receive counts");
        }
        Err(Trouble::NotFound) => findings.fail(format!(
            "{url}: no such queue: check the name, the account and `aws.region` (is {})",
            region(sqs).unwrap_or("not set")
        )),
        Err(trouble) => findings.fail(format!("{url}: {trouble}")),
    }
    findings
}

struct Summary {
    messages: String,
    visibility_s: String,
    has_dead_letters: bool,
}

async fn attributes(sqs: &Client, url: &str) -> Result<Summary, Trouble> {
    let output = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await
        .map_err(|error| Trouble::of(&error, "sqs:GetQueueAttributes"))?;
    let attribute = |name: QueueAttributeName| output.attributes().and_then(|all| all.get(&name)).cloned();
    let messages = attribute(QueueAttributeName::ApproximateNumberOfMessages);
    Ok(Summary {
        messages: match messages.as_deref() {
            Some("1") => "about 1 message".to_owned(),
            Some(count) => format!("about {} messages", grouped(count)),
            None => "messages unknown".to_owned(),
        },
        visibility_s: attribute(QueueAttributeName::VisibilityTimeout).unwrap_or_else(|| "unknown".to_owned()),
        has_dead_letters: attribute(QueueAttributeName::RedrivePolicy).is_some_and(|policy| !policy.is_empty()),
    })
}

async fn denied_delete(sqs: &Client, url: &str) -> Option<Trouble> {
    let entry = DeleteMessageBatchRequestEntry::builder().id("0").receipt_handle(BOGUS_RECEIPT).build().ok()?;
    let error = sqs.delete_message_batch().queue_url(url).entries(entry).send().await.err()?;
    unless_invalid(Trouble::of(&error, "sqs:DeleteMessage"))
}

async fn denied_visibility(sqs: &Client, url: &str) -> Option<Trouble> {
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
        .id("0")
        .receipt_handle(BOGUS_RECEIPT)
        .visibility_timeout(0)
        .build()
        .ok()?;
    let error = sqs.change_message_visibility_batch().queue_url(url).entries(entry).send().await.err()?;
    unless_invalid(Trouble::of(&error, "sqs:ChangeMessageVisibility"))
}

/// `None` if the queue only refused the receipt, which is expected. It may refuse the entry or the whole request.
fn unless_invalid(trouble: Trouble) -> Option<Trouble> {
    (!matches!(trouble, Trouble::Other { .. })).then_some(trouble)
}

fn region(sqs: &Client) -> Option<&str> {
    sqs.config().region().map(AsRef::as_ref)
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (digits, expected) in [("", ""), ("7", "7"), ("123", "123"), ("1234", "1,234"), ("1234567", "1,234,567")] {
            assert_eq!(grouped(digits), expected);
        }
    }
}
