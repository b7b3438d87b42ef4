//! A `current_date` that stands still, so that queries about yesterday and today work on an old lake.
//!
//! It does *not* replace the clock anywhere else: `now()` still returns the present time.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function `current_date`, which always returns `date` (`YYYY-MM-DD`).
pub(crate) fn current_date(date: &str) -> Result<ScalarUDF> {
    let date = ScalarValue::try_from_string(date.to_owned(), &DataType::Date32)?;
    // It is immutable, so that DataFusion folds it to a literal before it chooses partitions.
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
