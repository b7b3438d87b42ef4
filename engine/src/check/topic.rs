//! Checks the topic: it exists in the configured region.
//!
//! The check does *not* publish: every subscriber would get the probe.

use aws_sdk_sns::Client;

use super::Findings;
use crate::aws::error::Trouble;

pub(super) async fn check(sns: &Client, arn: Option<&str>) -> Findings {
    let mut findings = Findings::default();
    let Some(arn) = arn else {
        findings.note("no `alerts.topic_arn`: alerts go to the lake and are not published");
        return findings;
    };
    if let Some(trouble) = misplaced(sns, arn) {
        findings.fail(format!("{arn}: {trouble}"));
        return findings;
    }
    match attributes(sns, arn).await {
        Ok(subscriptions) => {
            findings.ok(format!("{arn} ({subscriptions})"));
            findings.note("sns:Publish is not tested, because that would reach the subscribers");
        }
        Err(Trouble::NotFound) => {
            findings.fail(format!("{arn}: no such topic: check the name, the account and the region"));
        }
        Err(trouble) => findings.fail(format!("{arn}: {trouble}")),
    }
    findings
}

async fn attributes(sns: &Client, arn: &str) -> Result<String, Trouble> {
    let output = sns
        .get_topic_attributes()
        .topic_arn(arn)
        .send()
        .await
        .map_err(|error| Trouble::of(&error, "sns:GetTopicAttributes"))?;
    let confirmed = output.attributes().and_then(|all| all.get("SubscriptionsConfirmed"));
    Ok(match confirmed.map(String::as_str) {
        Some("0") => "no subscription yet".to_owned(),
        Some("1") => "1 subscription".to_owned(),
        Some(count) => format!("{count} subscriptions"),
        None => "subscriptions unknown".to_owned(),
    })
}

/// An ARN names its region. For a topic of another region, SNS answers only "invalid parameter".
fn misplaced(sns: &Client, arn: &str) -> Option<Trouble> {
    let actual = arn.split(':').nth(3)?;
    let asked = sns.config().region()?.as_ref();
    (actual != asked).then(|| Trouble::WrongRegion { actual: actual.to_owned() })
}
