//! Names beyond the bound: a worker with full tables decodes and stores the same as any other worker.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;
use crate::batch::Contents;
use crate::encode::{EncodeConfig, Encoder};
use crate::lake::EpochId;

/// A decoder and an encoder with their own tables of names.
struct Worker {
    names: Dictionaries,
    decoder: Decoder,
    encoder: Encoder,
}

impl Worker {
    fn new(names_max: usize) -> Self {
        let names = Dictionaries::new(names_max);
        let decoder = Decoder::new(&DecodeConfig::default(), &names);
        let encoder = Encoder::new(&EncodeConfig { row_group_rows: 8, zstd_level: 1 }, names.clone()).unwrap();
        Self { names, decoder, encoder }
    }

    /// Decodes one message into one batch.
    fn decode(&mut self, body: &str) -> TickBatch {
        let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
        self.decoder.decode(&message(body.as_bytes()), &mut ticks, &mut rejects);
        assert_eq!(rejects, []);
        ticks
    }

    /// The rows in the files of an epoch. Its columns are gone before the files are written.
    fn encode(&mut self, ticks: Vec<TickBatch>) -> Vec<RecordBatch> {
        self.encoder.sort(&ticks);
        drop(ticks);
        let files = self.encoder.encode_sorted(&EpochId::new(Arc::from("w"), 0), &[], &[]).unwrap();
        let rows = files.into_iter().flat_map(|file| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.bytes)).unwrap();
            reader.build().unwrap().map(Result::unwrap)
        });
        rows.collect()
    }

    fn guests(&self) -> usize {
        self.names.symbols.guests() + self.names.venues.guests() + self.names.conditions.guests()
    }
}

fn body(ticks: &[(u32, u32, u32)]) -> String {
    let tick = |(symbol, venue, conditions): &(u32, u32, u32)| {
        let venue = if *venue == 0 { "null".to_owned() } else { format!("\"V{venue}\"") };
        format!(
            r#"{{"symbol":"S{symbol}","price":1.5,"volume":{symbol},"venue":{venue},"conditions":"C{conditions} @"}}"#
        )
    };
    format!("[{}]", ticks.iter().map(tick).collect::<Vec<_>>().join(","))
}

#[test]
fn message_of_ten_symbols_is_ten_rows_though_two_names_are_kept() {
    let ticks: Vec<_> = (0..10).map(|n| (9 - n, n % 4, n % 5)).collect();
    let (mut full, mut roomy) = (Worker::new(2), Worker::new(1000));
    let contents = Contents::<()> { ticks: vec![full.decode(&body(&ticks))], ..Contents::default() };
    let files = full.encoder.encode(&EpochId::new(Arc::from("w"), 0), &contents).unwrap();
    assert_eq!(files.iter().map(|file| file.rows).sum::<usize>(), 10);
    assert_eq!(full.names.symbols.len(), 2);
    let (ticks_of_full, ticks_of_roomy) = (full.decode(&body(&ticks)), roomy.decode(&body(&ticks)));
    assert_eq!(full.encode(vec![ticks_of_full]), roomy.encode(vec![ticks_of_roomy]));
}

proptest! {
    /// The twin keeps up to a thousand names, which are more than the test has.
    #[test]
    fn worker_with_full_tables_stores_the_same_rows(
        names_max in 0..4_usize,
        epochs in prop::collection::vec(
            prop::collection::vec(prop::collection::vec((0..20_u32, 0..9_u32, 0..9_u32), 0..30), 0..6),
            1..5,
        ),
    ) {
        let (mut full, mut roomy) = (Worker::new(names_max), Worker::new(1000));
        for messages in epochs {
            let of = |worker: &mut Worker| -> Vec<TickBatch> {
                let mut batches: Vec<TickBatch> = messages.iter().map(|ticks| worker.decode(&body(ticks))).collect();
                // Some batches are joined, as the builder of epochs does.
                if batches.len() > 2 {
                    let mut last = batches.pop().unwrap();
                    batches[0].append(&mut last);
                    assert!(last.guests.is_empty());
                }
                batches
            };
            let (of_full, of_roomy) = (of(&mut full), of(&mut roomy));
            prop_assert_eq!(full.encode(of_full), roomy.encode(of_roomy));
            prop_assert_eq!(full.guests(), 0, "no tick is in flight");
        }
    }
}

#[test]
fn producer_of_new_symbols_leaves_no_names_behind() {
    let mut worker = Worker::new(100);
    let mut columns = TickBatch::default();
    for message in 0..3_000_u32 {
        // Names that the table keeps come between, so that guessing goes on.
        let ticks: Vec<_> =
            (0..10).map(|n| if n % 2 == 0 { (message * 10 + n, message, 1) } else { (1, 1, 1) }).collect();
        columns.append(&mut worker.decode(&body(&ticks)));
        if message % 10 == 9 {
            let guests = worker.guests();
            assert!(guests <= columns.len() + 10, "{guests} guests of {} ticks", columns.len());
            assert!(message < 500 || guests > 50, "the names of the flood are guests");
            columns.clear();
            assert_eq!(worker.guests(), 0);
        }
    }
    assert_eq!((worker.names.symbols.len(), worker.names.venues.len()), (100, 100));
}

#[test]
fn refused_message_leaves_no_guests_behind() {
    let mut worker = Worker::new(1);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    let cut = format!("[{},{},{}", tick("A"), tick("B"), r#"{"symbol":"#);
    worker.decoder.decode(&message(cut.as_bytes()), &mut ticks, &mut rejects);
    assert_eq!((ticks.len(), rejects.len()), (0, 1));
    ticks.clear();
    assert_eq!(worker.guests(), 0);
}

/// The caller of the decoder counts how much a message adds.
#[test]
fn decoding_takes_no_guests_away() {
    let mut worker = Worker::new(1);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    let bodies = [
        r#"{"symbol":"B","price":-1,"volume":1,"venue":"V1","conditions":"C1"}"#.to_owned(),
        format!("[{},{},{}", tick("A"), tick("C"), r#"{"symbol":"#),
        "no JSON".to_owned(),
        format!("[{},7]", tick("D")),
        "[]".to_owned(),
    ];
    let mut before = 0;
    for body in bodies.iter().cycle().take(15) {
        worker.decoder.decode(&message(body.as_bytes()), &mut ticks, &mut rejects);
        assert!(ticks.guests.len() >= before, "{body}");
        before = ticks.guests.len();
        if ticks.len() == 2 {
            // A takeover drops ticks that are already stored in the same way.
            ticks.retain(&[false, false]);
        }
    }
    assert!(before > 0);
    ticks.clear();
    assert_eq!((worker.guests(), ticks.guests.len()), (0, 0));
}
