//! Dead-letter queues: what a message keeps on its way there, and what it loses on its way back.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::{
    ListMessageMoveTasksResultEntry, Message, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
};

use crate::{Local, code};

const DEAD: &str = "arn:aws:sqs:us-east-1:000000000000:dead";

impl Local {
    /// A queue whose messages go to the queue `dead` after one receive.
    async fn source(&self, name: &str) -> String {
        let policy = format!(r#"{{"deadLetterTargetArn":"{DEAD}","maxReceiveCount":1}}"#);
        let create = self.sqs.create_queue().queue_name(name).attributes(Attribute::RedrivePolicy, policy);
        create.send().await.unwrap().queue_url.unwrap()
    }

    /// A message of `queue`. It stays visible.
    async fn look(&self, queue: &str) -> Option<Message> {
        let receive = self.sqs.receive_message().queue_url(queue).visibility_timeout(0);
        let receive = receive.message_system_attribute_names(System::All);
        receive.send().await.unwrap().messages.unwrap_or_default().pop()
    }

    /// Sends a message, and receives it once. The next receive moves it to the dead-letter queue.
    async fn bury(&self, queue: &str, body: &str) -> Message {
        self.sqs.send_message().queue_url(queue).message_body(body).send().await.unwrap();
        let message = self.look(queue).await.unwrap();
        assert_eq!(self.look(queue).await, None);
        message
    }

    /// The latest task, after it has ended.
    async fn ended(&self) -> ListMessageMoveTasksResultEntry {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let tasks = self.sqs.list_message_move_tasks().source_arn(DEAD).send().await.unwrap();
            let task = tasks.results.unwrap().remove(0);
            if !["RUNNING", "CANCELLING"].contains(&task.status().unwrap()) {
                return task;
            }
            assert!(Instant::now() < end, "it does not end: {task:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn attributes(message: &Message) -> &HashMap<System, String> {
    message.attributes.as_ref().unwrap()
}

#[tokio::test]
async fn dead_letter_keeps_its_id_its_time_and_its_count_and_names_its_source() {
    let local = Local::start().await;
    let (dead, queue) = (local.queue("dead").await, local.source("q").await);
    let before = local.bury(&queue, "x").await;
    assert_eq!(attributes(&before).get(&System::DeadLetterQueueSourceArn), None);
    let after = local.look(&dead).await.unwrap();
    assert_eq!((&after.message_id, &after.body), (&before.message_id, &before.body));
    assert_eq!(attributes(&after)[&System::SentTimestamp], attributes(&before)[&System::SentTimestamp]);
    assert_eq!(attributes(&after)[&System::ApproximateReceiveCount], "2", "it counts across queues");
    assert_eq!(attributes(&after)[&System::DeadLetterQueueSourceArn], "arn:aws:sqs:us-east-1:000000000000:q");
    let receive = local.sqs.receive_message().queue_url(&dead).visibility_timeout(0);
    let named = receive.message_system_attribute_names(System::DeadLetterQueueSourceArn).send().await.unwrap();
    assert_eq!(attributes(&named.messages.unwrap()[0]).keys().collect::<Vec<_>>(), [&System::DeadLetterQueueSourceArn]);
}

#[tokio::test]
async fn counts_of_dead_letters_are_forgotten_where_that_was_asked_for() {
    let local = Local::start().await;
    let (dead, queue) = (local.queue("dead").await, local.source("q").await);
    local.server.faults().add("sqs:ReceiveMessage=forget-count".parse().unwrap());
    local.bury(&queue, "x").await;
    for _ in 0..2 {
        let message = local.look(&dead).await.unwrap();
        assert_eq!(attributes(&message)[&System::ApproximateReceiveCount], "1");
    }
    let plain = local.queue("plain").await;
    local.sqs.send_message().queue_url(&plain).message_body("x").send().await.unwrap();
    for expected in ["1", "2"] {
        let message = local.look(&plain).await.unwrap();
        assert_eq!(attributes(&message)[&System::ApproximateReceiveCount], expected, "not a dead letter");
    }
}

#[tokio::test]
async fn source_queues_are_listed_in_pages() {
    let local = Local::start().await;
    let dead = local.queue("dead").await;
    assert!(local.sqs.list_dead_letter_source_queues().queue_url(&dead).send().await.unwrap().queue_urls.is_empty());
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        expected.push(local.source(name).await);
        local.queue(&format!("{name}-other")).await;
    }
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let list = local.sqs.list_dead_letter_source_queues().queue_url(&dead).max_results(2);
        let page = list.set_next_token(token).send().await.unwrap();
        assert!(page.queue_urls.len() <= 2);
        found.extend(page.queue_urls);
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    let missing = local.sqs.list_dead_letter_source_queues().queue_url(dead + "-none").send().await;
    assert_eq!(code(missing).0, "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn redriven_message_is_a_new_one_in_the_queue_that_it_came_from() {
    let local = Local::start().await;
    let (dead, queues) = (local.queue("dead").await, [local.source("a").await, local.source("b").await]);
    let mut before = Vec::new();
    for (queue, body) in queues.iter().zip(["for a", "for b"]) {
        before.push(local.bury(queue, body).await);
    }
    tokio::time::sleep(crate::MOMENT).await;
    local.sqs.start_message_move_task().source_arn(DEAD).send().await.unwrap();
    let task = local.ended().await;
    assert_eq!((task.status(), task.task_handle(), task.destination_arn()), (Some("COMPLETED"), None, None));
    assert_eq!((task.approximate_number_of_messages_moved, task.approximate_number_of_messages_to_move), (2, Some(2)));
    assert_eq!(local.look(&dead).await, None);
    for (queue, before) in queues.iter().zip(&before) {
        let after = local.look(queue).await.unwrap();
        assert_eq!(after.body, before.body);
        assert_ne!(after.message_id, before.message_id);
        let (new, old) = (attributes(&after), attributes(before));
        assert_eq!(new[&System::ApproximateReceiveCount], "1");
        assert!(new[&System::SentTimestamp] > old[&System::SentTimestamp]);
        assert_eq!(new.get(&System::DeadLetterQueueSourceArn), None);
    }
}

#[tokio::test]
async fn redrive_to_another_queue_can_be_slow_and_cancelled() {
    let local = Local::start().await;
    let (_, queue, other) = (local.queue("dead").await, local.source("q").await, local.queue("other").await);
    for body in 0..15 {
        local.bury(&queue, &body.to_string()).await;
    }
    let arn = "arn:aws:sqs:us-east-1:000000000000:other";
    let start = || local.sqs.start_message_move_task().source_arn(DEAD).destination_arn(arn);
    let task = start().max_number_of_messages_per_second(20).send().await.unwrap().task_handle.unwrap();
    let unsupported = "AWS.SimpleQueueService.UnsupportedOperation";
    assert_eq!(code(start().send().await).0, unsupported, "one is running");
    let list = local.sqs.list_message_move_tasks().source_arn(DEAD).send().await.unwrap().results.unwrap();
    let told = (list[0].status(), list[0].task_handle(), list[0].max_number_of_messages_per_second);
    assert_eq!(told, (Some("RUNNING"), Some(&*task), Some(20)));
    let cancel = || local.sqs.cancel_message_move_task().task_handle(&task).send();
    let moved = cancel().await.unwrap().approximate_number_of_messages_moved;
    assert_eq!(local.ended().await.status(), Some("CANCELLED"));
    assert!(moved < 15, "{moved}");
    assert_eq!(code(cancel().await).0, unsupported, "it has ended");

    // The next one takes the rest.
    start().send().await.unwrap();
    let task = local.ended().await;
    assert_eq!((task.status(), task.destination_arn()), (Some("COMPLETED"), Some(arn)));
    let mut expected: Vec<_> = (0..15).map(|body| body.to_string()).collect();
    expected.sort();
    assert_eq!(local.bodies(&other, 15).await, expected);
}

#[tokio::test]
async fn redrive_of_what_cannot_be_moved_is_refused_or_fails() {
    let local = Local::start().await;
    let (dead, _) = (local.queue("dead").await, local.source("q").await);
    let start = |source: &str, target: Option<&str>| {
        let start =
            local.sqs.start_message_move_task().source_arn(format!("arn:aws:sqs:us-east-1:000000000000:{source}"));
        start.set_destination_arn(target.map(|name| format!("arn:aws:sqs:us-east-1:000000000000:{name}"))).send()
    };
    assert_eq!(code(start("q", None).await).0, "InvalidParameterValue", "nothing has its dead letters there");
    assert_eq!(code(start("none", None).await).0, "ResourceNotFoundException");
    assert_eq!(code(start("dead", Some("none")).await).0, "ResourceNotFoundException");
    let cancel = local.sqs.cancel_message_move_task().task_handle("none").send().await;
    assert_eq!(code(cancel).0, "ResourceNotFoundException");
    // A message that was sent directly to the dead-letter queue has no queue to go back to.
    local.sqs.send_message().queue_url(&dead).message_body("x").send().await.unwrap();
    start("dead", None).await.unwrap();
    let task = local.ended().await;
    assert_eq!((task.status(), task.failure_reason()), (Some("FAILED"), Some("CouldNotDetermineMessageSource")));
    assert_eq!(local.look(&dead).await.unwrap().body.as_deref(), Some("x"), "it is still there");
}
