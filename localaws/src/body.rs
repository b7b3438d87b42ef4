//! Bodies of requests, read up to a limit, and bodies of answers. An answer holds bytes in memory, or a range of a file
//! that is read as the client takes it.
//!
//! This file does *not* know what the bytes mean.

use std::{
    fs::File,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{task::JoinHandle, time::Sleep};

/// How many bytes of a file are read ahead of the socket.
const CHUNK: usize = 256 * 1024;

/// How long the connection stays open after the first half of an answer.
const CUT_PAUSE: Duration = Duration::from_millis(100);

/// The request gets no answer: a fault drops its connection.
#[derive(Debug, thiserror::Error)]
#[error("a fault drops the connection")]
pub(crate) struct Reset;

/// Why a request's body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The body is longer than the operation allows.
    #[error("the body is longer than {limit} bytes")]
    TooLong {
        /// The most bytes that the operation allows.
        limit: usize,
    },
    /// The client disconnected before the end.
    #[error("failed to read the body")]
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_body(body: &mut Incoming, limit: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLong { limit }),
        Err(_) => Err(BodyError::Broken),
    }
}

/// The body of every answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// All bytes in memory; `None` after they were taken.
    Whole(Option<Bytes>),
    /// The next bytes of a file at its present position.
    File(FileRange),
    /// The first bytes of another body. Then an error breaks the connection.
    Cut {
        body: Box<ReplyBody>,
        /// How many bytes of `body` are still to come.
        left: u64,
        /// The length that the headers promise.
        promised: u64,
        /// Delays the error until the bytes are on their way. The connection drops what it has buffered when the error
        /// comes.
        pause: Pin<Box<Sleep>>,
    },
}

/// `remaining` bytes of a file from its present position.
#[derive(Debug)]
pub(crate) struct FileRange {
    remaining: u64,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Idle(Option<File>),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
}

impl ReplyBody {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    /// The first half of this body, but with the length of the whole.
    pub(crate) fn cut(self) -> Self {
        let promised = self.size_hint().lower();
        let pause = Box::pin(tokio::time::sleep(CUT_PAUSE));
        Self::Cut { body: Box::new(self), left: promised / 2, promised, pause }
    }

    /// The next `length` bytes of `file`.
    pub(crate) fn file(file: File, length: u64) -> Self {
        Self::File(FileRange { remaining: length, step: Step::Idle(Some(file)) })
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(range) => range.poll_next(cx),
            Self::Cut { left: 0, pause, .. } => {
                pause.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::BrokenPipe.into())))
            }
            Self::Cut { body, left, .. } => Pin::new(body.as_mut()).poll_frame(cx).map_ok(|frame| {
                let mut data = frame.into_data().unwrap_or_default();
                data.truncate((*left).min(usize::MAX as u64) as usize);
                *left -= data.len() as u64;
                Frame::data(data)
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::File(range) => range.remaining == 0,
            Self::Cut { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File(range) => range.remaining,
            Self::Cut { promised, .. } => *promised,
        })
    }
}

impl FileRange {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match &mut self.step {
                Step::Idle(_) if self.remaining == 0 => return Poll::Ready(None),
                Step::Idle(file) => {
                    let Some(file) = file.take() else { return Poll::Ready(None) };
                    let length = self.remaining.min(CHUNK as u64);
                    self.step = Step::Reading(tokio::task::spawn_blocking(move || read(file, length)));
                }
                Step::Reading(task) => {
                    let Poll::Ready(joined) = Pin::new(task).poll(cx) else { return Poll::Pending };
                    let read = joined.unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(match read {
                        Ok((file, bytes)) => {
                            self.remaining -= bytes.len() as u64;
                            self.step = Step::Idle(Some(file));
                            Ok(Frame::data(bytes))
                        }
                        Err(error) => {
                            self.step = Step::Idle(None);
                            Err(error)
                        }
                    }));
                }
            }
        }
    }
}

/// Reads exactly `length` bytes. A file that has shrunk breaks the answer off; the answer is not padded.
fn read(mut file: File, length: u64) -> io::Result<(File, Bytes)> {
    let mut buffer = vec![0; length as usize];
    file.read_exact(&mut buffer)?;
    Ok((file, buffer.into()))
}
