//! A lake with its tables registered, ready for queries.
//!
//! This file owns how a table's folder becomes a DataFusion table. It does *not* own the definitions ([`crate::ddl`])
//! or how an answer is shown ([`crate::report`]).

use std::sync::Arc;

use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::prelude::SessionConfig;

use crate::answer::Answer;
use crate::ddl::{self, DdlError, TableDdl};
use crate::location::Location;
use crate::padded::PaddedPartitions;
use crate::today::current_date;

/// Why a lake cannot be queried.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A shipped DDL file does not define a table.
    #[error("failed to define the tables")]
    Ddl(#[from] DdlError),
    /// A table could not be registered.
    #[error("failed to register the tables")]
    Register(#[source] DataFusionError),
    /// `--today` is not a date.
    #[error("failed to read the date {date:?}: it must be of the form 2026-11-23")]
    Today {
        /// The text that was given.
        date: String,
        /// What DataFusion said.
        source: DataFusionError,
    },
    /// The statement is wrong, or the lake could not be read.
    #[error("failed to run the query")]
    Run(#[from] DataFusionError),
}

/// The three tables of one lake.
pub struct Lake {
    context: SessionContext,
}

impl Lake {
    /// Registers the tables of the lake at `location`; nothing is read yet. A table without files is empty.
    pub fn open(location: &Location) -> Result<Self, LakeError> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        if let Some((url, store)) = location.store() {
            context.register_object_store(url, store);
        }
        for sql in ddl::SHIPPED {
            register(&context, location, &TableDdl::parse(sql)?)?;
        }
        Ok(Self { context })
    }

    /// Makes `current_date` answer `date` (`YYYY-MM-DD`) from now on.
    pub fn set_today(&self, date: &str) -> Result<(), LakeError> {
        let today = current_date(date).map_err(|source| LakeError::Today { date: date.to_owned(), source })?;
        self.context.register_udf(today);
        Ok(())
    }

    /// Executes one statement that reads.
    pub async fn run(&self, sql: &str) -> Result<Answer, LakeError> {
        // As on Athena with read permissions, no statement may write to a lake.
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        let frame = self.context.sql_with_options(sql, read_only).await?;
        Ok(Answer::collect(frame).await?)
    }

    /// The last date from which the lake has a tick, if there is one.
    pub async fn newest_day(&self) -> Result<Option<String>, LakeError> {
        let answer = self.run("SELECT max(dt) AS dt FROM ticks").await?;
        Ok(answer.first_text())
    }
}

fn register(context: &SessionContext, location: &Location, table: &TableDdl) -> Result<(), LakeError> {
    let padded: Vec<String> =
        table.partitions.iter().map(|(name, _)| name.clone()).filter(|name| table.is_padded(name)).collect();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
        .with_file_extension(".parquet")
        .with_table_partition_cols(table.partitions.clone());
    let provider = ListingTableUrl::try_new(location.table(&table.name), None)
        .map(|url| ListingTableConfig::new(url).with_listing_options(options).with_schema(table.columns.clone()))
        .and_then(ListingTable::try_new)
        .map_err(LakeError::Register)?;
    context
        .register_table(table.name.as_str(), Arc::new(PaddedPartitions::new(provider, padded)))
        .map_err(LakeError::Register)?;
    Ok(())
}
