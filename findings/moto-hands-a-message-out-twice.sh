#!/usr/bin/env bash
# One would guess: moto's server hides a received message from other receivers for its visibility timeout, as a queue does.
# What happens: receivers that ask at the same time get the same messages, although the timeout is ten minutes.
# The copy counts two receives. So a consumer that is tested over moto meets a redelivery while it still holds the message.
set -euo pipefail
dir=$(mktemp -d)
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server,sqs]==5.2.5' 'boto3==1.44.8'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$dir/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$dir"' EXIT
for _ in $(seq 100); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  sleep 0.2
done
"$dir/venv/bin/python" - "$port" <<'PYTHON'
import collections
import importlib.metadata
import sys
import threading

import boto3

MESSAGES, RECEIVERS, ROUNDS_MAX = 200, 16, 100


def connect():
    session = boto3.session.Session("a", "b", region_name="us-east-1")
    return session.client("sqs", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}")


def copies(number, clients):
    sqs = clients[0]
    url = sqs.create_queue(QueueName=f"ticks-{number}", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    for first in range(0, MESSAGES, 10):
        entries = [{"Id": str(at), "MessageBody": str(first + at)} for at in range(10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    received, counts, lock = collections.Counter(), collections.Counter(), threading.Lock()

    def receive(own):
        ask = {"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["ApproximateReceiveCount"]}
        while messages := own.receive_message(**ask).get("Messages"):
            with lock:
                for message in messages:
                    received[message["MessageId"]] += 1
                    counts[message["Attributes"]["ApproximateReceiveCount"]] += 1

    threads = [threading.Thread(target=receive, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(received.values()) - len(received), dict(counts)


print("moto", importlib.metadata.version("moto"))
clients = [connect() for _ in range(RECEIVERS)]
for number in range(ROUNDS_MAX):
    found, counts = copies(number, clients)
    if found:
        print(f"round {number + 1}: {found} copies of {MESSAGES} messages to {RECEIVERS} receivers; receive counts {counts}")
        sys.exit()
sys.exit(f"changed: no message was handed out twice in {ROUNDS_MAX} rounds")
PYTHON
