//! The files of ticks. An epoch's sorted rows become columns, one row group at a time, and are written as Parquet.
//!
//! This file owns how each column of a tick is stored. `benches/ENCODINGS.md` has the measurements behind the choices.
//! [`chunk`](super::chunk) owns the bytes of dictionary columns, and parquet those of delta columns.

use std::sync::Arc;

use parquet::data_type::{ByteArray, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::SchemaDescriptor;

use super::chunk::{Chunk, ChunkWriter, Presence, Values};
use super::dictionary::{NameIndex, NumberIndex};
use crate::names::{NameId, Names};
use crate::tick::{Dictionaries, Tick, TickBatch};

/// Writes files of ticks, and keeps its buffers between them.
#[derive(Debug)]
pub(super) struct TickWriter {
    names: Dictionaries,
    schema: SchemaDescriptor,
    row_group_rows: usize,
    chunks: ChunkWriter,
    columns: TickBatch,
    name_index: NameIndex,
    number_index: NumberIndex,
    numbers: Vec<u64>,
    seqs: Vec<i64>,
    present: Vec<bool>,
    levels: Vec<i16>,
    dictionary: Vec<u8>,
}

/// If more than one in this many numbers is new, they are stored as they are. Their dictionary would take more room
/// than it saves.
const DISTINCT_SHARE: usize = 4;

/// The typical size of a tick in a file, and of the footer. A buffer that must grow is copied each time.
const TYPICAL_ROW_BYTES: usize = 6;
const FOOTER_BYTES: usize = 4_096;

type RowGroup<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

impl TickWriter {
    /// A writer of files of `schema`, in row groups of `row_group_rows`.
    pub(super) fn new(
        names: Dictionaries,
        schema: SchemaDescriptor,
        row_group_rows: usize,
        chunks: ChunkWriter,
    ) -> Self {
        Self {
            names,
            schema,
            row_group_rows,
            chunks,
            columns: TickBatch::default(),
            name_index: NameIndex::default(),
            number_index: NumberIndex::default(),
            numbers: Vec::new(),
            seqs: Vec::new(),
            present: Vec::new(),
            levels: Vec::new(),
            dictionary: Vec::new(),
        }
    }

    /// The file that holds `ticks`, in this order.
    pub(super) fn write(&mut self, ticks: &[Tick], properties: WriterPropertiesPtr) -> Result<Vec<u8>, ParquetError> {
        let room = Vec::with_capacity(ticks.len() * TYPICAL_ROW_BYTES + FOOTER_BYTES);
        let mut file = SerializedFileWriter::new(room, self.schema.root_schema_ptr(), properties)?;
        let mut columns = std::mem::take(&mut self.columns);
        for ticks in ticks.chunks(self.row_group_rows) {
            columns.assign(ticks);
            let mut group = file.next_row_group()?;
            self.write_row_group(&columns, &mut group)?;
            group.close()?;
        }
        self.columns = columns;
        file.into_inner()
    }

    /// Writes the columns in the order of the schema.
    fn write_row_group(&mut self, columns: &TickBatch, group: &mut RowGroup<'_>) -> Result<(), ParquetError> {
        let Dictionaries { symbols, venues, conditions } = self.names.clone();
        self.names_column(0, &columns.symbol, &symbols, group)?;
        delta_column(&columns.ts_us, None, group)?;
        self.numbers_column(2, columns.price.iter().map(|price| price.to_bits()), group)?;
        self.numbers_column(3, columns.volume.iter().map(|volume| volume.to_bits()), group)?;
        self.seqs.clear();
        self.seqs.extend(columns.seq.iter().flatten());
        self.levels.clear();
        self.levels.extend(columns.seq.iter().map(|seq| i16::from(seq.is_some())));
        delta_column(&self.seqs, Some(&self.levels), group)?;
        self.names_column(5, &columns.venue, &venues, group)?;
        self.names_column(6, &columns.conditions, &conditions, group)?;
        self.numbers_column(7, columns.received_at_us.iter().map(|&time| time as u64), group)
    }

    fn names_column(
        &mut self,
        column: usize,
        ids: &[NameId],
        names: &Names,
        group: &mut RowGroup<'_>,
    ) -> Result<(), ParquetError> {
        let required = self.schema.column(column).max_def_level() == 0;
        self.name_index.index(ids);
        let distinct = &self.name_index.distinct;
        self.dictionary.clear();
        let mut bounds: Option<(Arc<str>, Arc<str>)> = None;
        for name in distinct.iter().filter_map(|&id| names.get(id)) {
            self.dictionary.extend((name.len() as u32).to_le_bytes());
            self.dictionary.extend(name.as_bytes());
            bounds = Some(match bounds {
                Some((min, max)) => (min.min(name.clone()), max.max(name)),
                None => (name.clone(), name),
            });
        }
        let statistics = bounds.filter(|_| required).map(|(min, max)| {
            let bytes = |name: &str| Some(ByteArray::from(name));
            Statistics::byte_array(bytes(&min), bytes(&max), None, Some(0), false)
        });
        let presence = if required {
            Presence::Required
        } else {
            self.present.clear();
            self.present.extend(ids.iter().map(|&id| id != NameId::NONE));
            Presence::Optional(&self.present)
        };
        let indices = &self.name_index.indices;
        // An empty dictionary is not written, because some readers may not expect one.
        let values = if distinct.is_empty() {
            Values::Plain(&[])
        } else {
            Values::Positions { indices, dictionary: &self.dictionary, distinct: distinct.len() }
        };
        append(group, self.chunks.write(self.schema.column(column), ids.len(), presence, values, statistics)?)
    }

    fn numbers_column(
        &mut self,
        column: usize,
        numbers: impl ExactSizeIterator<Item = u64> + Clone,
        group: &mut RowGroup<'_>,
    ) -> Result<(), ParquetError> {
        let rows = numbers.len();
        let index = &mut self.number_index;
        let values = if index.index(numbers.clone(), 1 + rows / DISTINCT_SHARE) {
            self.dictionary.clear();
            self.dictionary.extend(index.distinct.iter().flat_map(|number| number.to_le_bytes()));
            Values::Positions { indices: &index.indices, dictionary: &self.dictionary, distinct: index.distinct.len() }
        } else {
            self.numbers.clear();
            self.numbers.extend(numbers);
            Values::Plain(&self.numbers)
        };
        append(group, self.chunks.write(self.schema.column(column), rows, Presence::Required, values, None)?)
    }
}

fn append(group: &mut RowGroup<'_>, chunk: Chunk) -> Result<(), ParquetError> {
    group.append_column(&chunk.bytes, chunk.close)
}

fn delta_column(values: &[i64], levels: Option<&[i16]>, group: &mut RowGroup<'_>) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("failed to find a column for the values".to_owned()));
    };
    column.typed::<Int64Type>().write_batch(values, levels, None)?;
    column.close()
}
