//! Reads the rows of a CSV file with headings, plain or compressed with gzip.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use csv::StringRecord;
use flate2::read::MultiGzDecoder;

use super::{Mapping, ReadError, Row, Rows};

/// The positions of the mapped columns.
struct Columns {
    symbol: usize,
    ts: usize,
    price: usize,
    volume: usize,
    seq: Option<usize>,
    venue: Option<usize>,
    conditions: Option<usize>,
}

/// Hands every row of the file to `rows`.
pub(super) fn read(path: &Path, gzip: bool, mapping: &Mapping, rows: &mut Rows<'_>) -> Result<(), ReadError> {
    let file = File::open(path).map_err(|source| ReadError::Read { path: path.to_owned(), source })?;
    let bytes: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) };
    let mut reader = csv::Reader::from_reader(bytes);
    let columns = Columns::find(reader.headers()?, mapping)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        rows.row += 1;
        let row = columns.row(&record, mapping, rows)?;
        if !rows.take(&row) {
            break;
        }
    }
    Ok(())
}

impl Columns {
    fn find(headings: &StringRecord, mapping: &Mapping) -> Result<Self, ReadError> {
        let find = |column: &String| {
            headings.iter().position(|heading| heading == column).ok_or_else(|| ReadError::Column {
                column: column.clone(),
                available: headings.iter().map(str::to_owned).collect(),
            })
        };
        Ok(Self {
            symbol: find(&mapping.symbol)?,
            ts: find(&mapping.ts)?,
            price: find(&mapping.price)?,
            volume: find(&mapping.volume)?,
            seq: mapping.seq.as_ref().map(find).transpose()?,
            venue: mapping.venue.as_ref().map(find).transpose()?,
            conditions: mapping.conditions.as_ref().map(find).transpose()?,
        })
    }

    fn row<'r>(&self, record: &'r StringRecord, mapping: &Mapping, rows: &Rows<'_>) -> Result<Row<'r>, ReadError> {
        let integer =
            |column, text: &str| text.parse::<i64>().map_err(|_| rows.bad(column, format!("{text:?}, not an integer")));
        let symbol = &record[self.symbol];
        if symbol.is_empty() {
            return Err(rows.bad("symbol", "empty"));
        }
        let optional = |column: Option<usize>| column.map(|at| &record[at]).filter(|text| !text.is_empty());
        Ok(Row {
            number: rows.row,
            symbol,
            ts_us: rows.ts_us(integer("ts", &record[self.ts])?, mapping.ts_unit)?,
            price: rows.number("price", &record[self.price])?,
            volume: rows.number("volume", &record[self.volume])?,
            seq: self.seq.map(|at| integer("seq", &record[at])).transpose()?,
            venue: optional(self.venue),
            conditions: optional(self.conditions),
        })
    }
}
