//! Searches the protocol's model: every state of the small cases, and for each broken variant the shortest way to the
//! broken property.
//!
//! The model is the core's own. The core's tests search the small cases, and with `--ignored` the large ones, too.

use std::io::{self, Write as _};

use crate::figure::Figure;

#[path = "../../../engine/core/tests/protocol/model/mod.rs"]
mod model;

/// Searches every case and every variant, and prints the traces.
pub(super) fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    for case in model::small_cases().into_iter().chain(model::large_cases()) {
        let name = case.name;
        let searched = case.search();
        if let Some((property, steps)) = &searched.violation {
            writeln!(io::stdout(), "{name}: \"{property}\" does not hold after\n  {}", steps.join("\n  "))?;
        }
        let name = format!("violations in {} states, {} deep: {name}", searched.states, searched.depth);
        report(Figure { name: name.into(), measured: searched.violation.iter().count() as f64, at_most: 0.0 })?;
    }
    for variant in model::variants() {
        let (name, property) = (variant.name.clone(), variant.property);
        let trace = variant.trace();
        if let Some(steps) = &trace {
            writeln!(io::stdout(), "{name} violates \"{property}\":\n  {}", steps.join("\n  "))?;
        }
        let name = format!("broken variants that are not caught: {name}");
        report(Figure { name: name.into(), measured: f64::from(u8::from(trace.is_none())), at_most: 0.0 })?;
    }
    Ok(())
}
