//! A `current_date` that stands still: queries about yesterday and today can then be asked of an old lake.
//!
//! It does *not* replace the clock anywhere else: `now()` is still now.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function `current_date`, which always answers `date` (`YYYY-MM-DD`).
pub(crate) fn current_date(date: &str) -> Result<ScalarUDF> {
    let date = ScalarValue::try_from_string(date.to_owned(), &DataType::Date32)?;
    // Immutable, so that it is folded to a literal before partitions are chosen.
    Ok(ScalarUDF::new_from_impl(CurrentDate { date, signature: Signature::nullary(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentDate {
    date: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for CurrentDate {
    fn name(&self) -> &'static str {
        "current_date"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.date.clone()))
    }
}
