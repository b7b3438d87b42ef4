//! One column of one row group as Parquet pages: a dictionary page if the column has a dictionary, then data pages.
//!
//! parquet's own column writer hashes every value to build a dictionary, and packs positions into as few bits as
//! possible. Here the positions are already known, and no position crosses the border of a byte. zstd models bytes: a
//! column of 115 different volumes takes fewer bytes this way than packed into 7 bits, and nothing must be shifted.
//! Parquet allows positions of any width (`Encodings.md`, "RLE/Bit-Packing Hybrid"), so every reader can read them.
//! This file owns the bytes of pages. It does *not* own which values are in them.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

/// Which rows of a chunk have a value.
#[derive(Debug, Clone, Copy)]
pub enum Presence<'a> {
    /// The schema requires a value in every row, so no levels are stored.
    Required,
    /// The column is optional. For each row, whether it has a value.
    Optional(&'a [bool]),
}

/// The values of the rows that have one.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Numbers of eight bytes, as their bits.
    Plain(&'a [u64]),
    /// Positions within a dictionary.
    Positions {
        /// For each value, its position.
        indices: &'a [u32],
        /// The values of the dictionary in Parquet's plain encoding.
        dictionary: &'a [u8],
        /// How many values the dictionary has.
        distinct: usize,
    },
}

/// Writes chunks, and keeps its buffers between them.
pub struct ChunkWriter {
    compressor: Compressor<'static>,
    codec: Compression,
    body: Vec<u8>,
}

/// The result of [`ChunkWriter::write`].
#[derive(Debug)]
pub struct Chunk {
    /// The pages.
    pub bytes: Bytes,
    /// The description of the pages for the footer.
    pub close: ColumnCloseResult,
}

impl fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkWriter").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// Rows of a page with positions of two bytes. Prices are such a column. zstd fits its codes to the values of a page,
/// and a few symbols have fewer different prices than many. Still smaller pages cost more in headers than they save.
const WIDE_PAGE_ROWS: usize = 8_192;

/// Rows of any other page. A row group has fewer rows unless it was configured very large.
const PAGE_ROWS: usize = 1 << 20;

impl ChunkWriter {
    /// A writer that compresses pages with zstd at `level`.
    pub fn new(level: ZstdLevel) -> Result<Self, ParquetError> {
        let compressor = Compressor::new(level.compression_level())?;
        Ok(Self { compressor, codec: Compression::ZSTD(level), body: Vec::new() })
    }

    /// The chunk of column `descr` with `rows` rows. `statistics` go to the footer.
    pub fn write(
        &mut self,
        descr: ColumnDescPtr,
        rows: usize,
        presence: Presence<'_>,
        values: Values<'_>,
        statistics: Option<Statistics>,
    ) -> Result<Chunk, ParquetError> {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let dictionary = self.dictionary_page(values, &mut pages)?;
        let (data_pages, data_bytes) = self.data_pages(rows, presence, values, &mut pages)?;
        let bytes = Bytes::from(sink.into_inner()?);
        let mut encodings = vec![Encoding::RLE, values.encoding()];
        let mut encoding_stats = vec![stats(PageType::DATA_PAGE, values.encoding(), data_pages)];
        let mut uncompressed = data_bytes;
        if let Some(page) = &dictionary {
            encodings.push(Encoding::PLAIN);
            encoding_stats.push(stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
            uncompressed += page.uncompressed_size;
        }
        let mut metadata = ColumnChunkMetaData::builder(descr)
            .set_compression(self.codec)
            .set_encodings(encodings)
            .set_page_encoding_stats(encoding_stats)
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_dictionary_page_offset(dictionary.as_ref().map(|_| 0))
            .set_data_page_offset(dictionary.map_or(0, |page| page.bytes_written as i64));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Chunk { bytes, close })
    }

    fn dictionary_page(
        &mut self,
        values: Values<'_>,
        pages: &mut SerializedPageWriter<'_, Vec<u8>>,
    ) -> Result<Option<PageWriteSpec>, ParquetError> {
        let Values::Positions { dictionary, distinct, .. } = values else { return Ok(None) };
        let buf = compress(&mut self.compressor, dictionary)?;
        let page =
            Page::DictionaryPage { buf, num_values: distinct as u32, encoding: Encoding::PLAIN, is_sorted: false };
        pages.write_page(CompressedPage::new(page, dictionary.len())).map(Some)
    }

    /// Writes the data pages. Returns their number, and their bytes before compression.
    fn data_pages(
        &mut self,
        rows: usize,
        presence: Presence<'_>,
        values: Values<'_>,
        pages: &mut SerializedPageWriter<'_, Vec<u8>>,
    ) -> Result<(i32, usize), ParquetError> {
        let page_rows = values.page_rows();
        let (mut count, mut bytes, mut first_value) = (0, 0, 0);
        for start in (0..rows).step_by(page_rows) {
            let rows = start..rows.min(start + page_rows);
            let num_values = rows.len() as u32;
            self.body.clear();
            let end_value = first_value + presence.put(rows, &mut self.body);
            values.put(first_value..end_value, &mut self.body);
            first_value = end_value;
            let page = Page::DataPage {
                buf: compress(&mut self.compressor, &self.body)?,
                num_values,
                encoding: values.encoding(),
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            bytes += pages.write_page(CompressedPage::new(page, self.body.len()))?.uncompressed_size;
            count += 1;
        }
        Ok((count, bytes))
    }
}

fn compress(compressor: &mut Compressor<'static>, body: &[u8]) -> Result<Bytes, ParquetError> {
    Ok(Bytes::from(compressor.compress(body)?))
}

fn stats(page_type: PageType, encoding: Encoding, count: i32) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count }
}

impl Presence<'_> {
    /// Adds the definition levels of `rows` to `body`. Returns how many rows have a value.
    fn put(self, rows: Range<usize>, body: &mut Vec<u8>) -> usize {
        let Presence::Optional(present) = self else { return rows.len() };
        let present = &present[rows];
        let length_at = body.len();
        body.extend([0; 4]);
        let count = present.iter().filter(|&&present| present).count();
        if count == present.len() || count == 0 {
            put_run(present.len(), usize::from(count > 0), 1, body);
        } else {
            put_packed_header(present.len(), body);
            body.extend(
                present.chunks(8).map(|bits| {
                    bits.iter().enumerate().fold(0, |byte, (bit, &present)| byte | u8::from(present) << bit)
                }),
            );
        }
        let length = (body.len() - length_at - 4) as u32;
        body[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        count
    }
}

impl Values<'_> {
    fn encoding(self) -> Encoding {
        match self {
            Values::Plain(_) => Encoding::PLAIN,
            Values::Positions { .. } => Encoding::RLE_DICTIONARY,
        }
    }

    fn page_rows(self) -> usize {
        match self {
            Values::Positions { distinct, .. } if position_bits(distinct) == 16 => WIDE_PAGE_ROWS,
            Values::Plain(_) | Values::Positions { .. } => PAGE_ROWS,
        }
    }

    fn put(self, range: Range<usize>, body: &mut Vec<u8>) {
        match self {
            Values::Plain(numbers) => body.extend(numbers[range].iter().flat_map(|number| number.to_le_bytes())),
            Values::Positions { indices, distinct, .. } => put_positions(&indices[range], distinct, body),
        }
    }
}

/// Writes positions as runs if that is clearly shorter, as for a symbol or a time of receipt. Otherwise it packs them.
fn put_positions(indices: &[u32], distinct: usize, body: &mut Vec<u8>) {
    let bits = position_bits(distinct);
    body.push(bits as u8);
    if indices.is_empty() {
        return;
    }
    let run_bytes = bits.div_ceil(8);
    let runs = 1 + indices.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if runs * (run_bytes + 1) * 8 < indices.len() * bits {
        for run in indices.chunk_by(|a, b| a == b) {
            put_run(run.len(), run[0] as usize, run_bytes, body);
        }
        return;
    }
    put_packed_header(indices.len(), body);
    let start = body.len();
    body.resize(start + indices.len().div_ceil(8) * bits, 0);
    let packed = &mut body[start..];
    match bits {
        4 => {
            for (byte, pair) in packed.iter_mut().zip(indices.chunks(2)) {
                *byte = (pair[0] | pair.get(1).unwrap_or(&0) << 4) as u8;
            }
        }
        8 => {
            for (byte, &index) in packed.iter_mut().zip(indices) {
                *byte = index as u8;
            }
        }
        16 => {
            for (bytes, &index) in packed.as_chunks_mut().0.iter_mut().zip(indices) {
                *bytes = (index as u16).to_le_bytes();
            }
        }
        _ => {
            for (bytes, &index) in packed.as_chunks_mut().0.iter_mut().zip(indices) {
                *bytes = index.to_le_bytes();
            }
        }
    }
}

/// The bits of a position. They are chosen so that a byte holds whole positions, or a position takes whole bytes.
fn position_bits(distinct: usize) -> usize {
    match distinct {
        0..=0x10 => 4,
        0x11..=0x100 => 8,
        0x101..=0x1_0000 => 16,
        _ => 32,
    }
}

fn put_run(rows: usize, value: usize, width: usize, body: &mut Vec<u8>) {
    put_varint(rows << 1, body);
    body.extend(&value.to_le_bytes()[..width]);
}

/// The header of values packed in groups of eight.
fn put_packed_header(values: usize, body: &mut Vec<u8>) {
    put_varint(values.div_ceil(8) << 1 | 1, body);
}

fn put_varint(mut value: usize, body: &mut Vec<u8>) {
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}
