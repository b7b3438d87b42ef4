//! Reads the Athena DDL as table definitions, so that local queries run against what the DDL says.
//!
//! This file owns the map from Athena's types to DataFusion's. It does *not* check that the files have these columns:
//! the contract test of the schemas crate does.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ColumnDef, CreateTable, CreateTableOptions, DataType as SqlType, Expr, HiveDistributionStyle, SqlOption, Statement,
    Value,
};
use datafusion::sql::sqlparser::dialect::HiveDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// The DDL of the lake's tables, as it is in this crate's folder `ddl`.
pub const SHIPPED: [&str; 3] =
    [include_str!("../ddl/ticks.sql"), include_str!("../ddl/alerts.sql"), include_str!("../ddl/quarantine.sql")];

/// Why a DDL file does not define a table.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// The text is not SQL in Hive's dialect.
    #[error("failed to parse the DDL")]
    Parse(#[from] ParserError),
    /// The text is not a single CREATE EXTERNAL TABLE with PARTITIONED BY.
    #[error("failed to read the DDL: it must be one CREATE EXTERNAL TABLE statement with PARTITIONED BY")]
    NotAPartitionedTable,
    /// A column has a type that no column of the lake has.
    #[error("failed to read the DDL: column {column} has the unsupported type {sql_type}")]
    Type {
        /// The column.
        column: String,
        /// Its type, as written.
        sql_type: String,
    },
}

/// One table, as its DDL defines it.
#[derive(Debug, Clone)]
pub struct TableDdl {
    /// The name of the table and of its folder in the lake.
    pub name: String,
    /// The columns in the files.
    pub columns: SchemaRef,
    /// The columns in the keys, outermost first.
    pub partitions: Vec<(String, DataType)>,
    /// The table properties, among them the partition projection.
    pub properties: BTreeMap<String, String>,
}

impl TableDdl {
    /// Reads one DDL file.
    pub fn parse(sql: &str) -> Result<Self, DdlError> {
        let mut statements = Parser::parse_sql(&HiveDialect {}, sql)?;
        let (Some(Statement::CreateTable(create)), None) = (statements.pop(), statements.pop()) else {
            return Err(DdlError::NotAPartitionedTable);
        };
        let HiveDistributionStyle::PARTITIONED { columns: partitions } = &create.hive_distribution else {
            return Err(DdlError::NotAPartitionedTable);
        };
        let fields = create.columns.iter().map(|column| Ok(Field::new(&column.name.value, data_type(column)?, true)));
        let columns = Schema::new(fields.collect::<Result<Vec<_>, DdlError>>()?);
        let partitions = partitions.iter().map(|column| Ok((column.name.value.clone(), data_type(column)?)));
        Ok(Self {
            name: create.name.to_string(),
            columns: Arc::new(columns),
            partitions: partitions.collect::<Result<_, DdlError>>()?,
            properties: properties(&create),
        })
    }

    /// Whether partition column `name` is an integer that keys write with leading zeros, `hour=04`.
    #[must_use]
    pub fn is_padded(&self, name: &str) -> bool {
        self.properties.contains_key(&format!("projection.{name}.digits"))
    }
}

fn data_type(column: &ColumnDef) -> Result<DataType, DdlError> {
    match &column.data_type {
        SqlType::String(None) => Ok(DataType::Utf8),
        SqlType::Double(_) => Ok(DataType::Float64),
        SqlType::Int(None) => Ok(DataType::Int32),
        SqlType::BigInt(None) => Ok(DataType::Int64),
        SqlType::Binary(None) => Ok(DataType::Binary),
        // Athena's timestamp has no zone, but the files say UTC. Without the zone, a literal compares as on Athena.
        SqlType::Timestamp(None, _) => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        other => Err(DdlError::Type { column: column.name.value.clone(), sql_type: other.to_string() }),
    }
}

fn properties(create: &CreateTable) -> BTreeMap<String, String> {
    let CreateTableOptions::TableProperties(options) = &create.table_options else {
        return BTreeMap::new();
    };
    let pair = |option: &SqlOption| match option {
        SqlOption::KeyValue { key, value: Expr::Value(value) } => match &value.value {
            Value::SingleQuotedString(text) => Some((key.value.clone(), text.clone())),
            _ => None,
        },
        _ => None,
    };
    options.iter().filter_map(pair).collect()
}
