//! Makes a request of one of the three protocols from any bytes. The fuzz target and the test that replays its corpus
//! share this file, so that both send the same. It does *not* own how the request is sent.

/// Operations that change and read state, so that inputs act on each other's state.
const SQS: [&str; 12] = [
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "SetQueueAttributes",
    "GetQueueAttributes",
    "TagQueue",
    "ListQueues",
];

const METHODS: [&str; 6] = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"];

/// The bytes of an HTTP request. The first byte of `data` chooses the protocol, the second the operation or method. For
/// S3, the next line is the path and query, and the lines after it up to an empty one are headers. Any other data is
/// sent raw.
pub fn request(data: &[u8]) -> Vec<u8> {
    let Some((&[protocol, kind], rest)) = data.split_first_chunk::<2>() else { return data.to_vec() };
    let kind = usize::from(kind);
    match protocol {
        b'q' => {
            let target = format!("x-amz-target: AmazonSQS.{}\r\n", SQS[kind % SQS.len()]);
            framed("POST", b"/", target.as_bytes(), rest)
        }
        b'n' => framed("POST", b"/", b"content-type: application/x-www-form-urlencoded\r\n", rest),
        b's' => {
            let (target, rest) = split(rest, b"\n");
            let (headers, body) = split(rest, b"\n\n");
            let headers: Vec<u8> = headers
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .flat_map(|line| [line, b"\r\n"].concat())
                .collect();
            framed(METHODS[kind % METHODS.len()], target, &headers, body)
        }
        _ => data.to_vec(),
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&bytes[..at], &bytes[at + separator.len()..]),
        None => (bytes, b""),
    }
}

fn framed(method: &str, target: &[u8], headers: &[u8], body: &[u8]) -> Vec<u8> {
    let length = format!("host: local\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n", headers, length.as_bytes(), body].concat()
}
