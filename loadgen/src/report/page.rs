//! The page of a run for a browser: one file that needs no other files.
//!
//! This file owns what is shown and in which order. It does *not* own how a plot is drawn (`plot`).

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use plotters::style::RGBColor;

use super::{
    Figures, PERCENTILES,
    axis::{Axis, Unit, count, duration},
    plot::{BLUE, GREEN, GREY, ORANGE, Plot, RED, Series},
};
use crate::observe::{Latency, MetricKind, Second};

/// The page shows at most this many of a consumer's metrics.
const METRICS_MAX: usize = 60;

const WIDE: (u32, u32) = (1_080, 300);
const HALF: (u32, u32) = (530, 280);
const SMALL: (u32, u32) = (350, 170);

/// The page. `histograms` hold microseconds, by the name of what was measured.
pub(super) fn of(title: &str, at: Timestamp, figures: &Figures, histograms: &[(&str, &Histogram<u64>)]) -> String {
    let mut body = String::new();
    // A `String` takes all text, so writing cannot fail.
    let written = write_body(&mut body, title, at, figures, histograms);
    debug_assert!(written.is_ok(), "{written:?}");
    frame(title, &body)
}

fn write_body(
    out: &mut String,
    title: &str,
    at: Timestamp,
    figures: &Figures,
    histograms: &[(&str, &Histogram<u64>)],
) -> fmt::Result {
    let missing = figures.lake.as_ref().map_or(0, |lake| lake.missing_messages as u64 + lake.unwatched);
    let (class, verdict) = match () {
        () if !figures.is_valid => ("bad", "INVALID: the generator did not keep its own schedule"),
        () if missing > 0 => ("bad", "not everything was seen in the lake"),
        () if !figures.is_whole => ("odd", "stopped before everything was sent"),
        () => ("good", "valid"),
    };
    let at = at.strftime("%Y-%m-%d %H:%M UTC");
    writeln!(out, "<header><h1>{}</h1><span class=\"{class}\">{verdict}</span></header>", escaped(title))?;
    writeln!(out, "<p>{}, written {at}</p>", escaped(&pace(figures)))?;
    if let Some(lake) = figures.lake.as_ref().filter(|_| missing > 0) {
        let (messages, ticks) = (lake.missing_messages, lake.unwatched);
        let text =
            format!("{messages} messages when patience was over, and {ticks} ticks that could not be watched for");
        writeln!(out, "<p><span class=\"bad\">missing</span> {text}; latencies in the lake are those of the rest</p>")?;
    }
    for problem in &figures.problems {
        writeln!(out, "<p><span class=\"bad\">not seen</span> {}</p>", escaped(problem))?;
    }
    cards(out, figures)?;
    section(out, "Throughput", "ticks per second", &throughput(&figures.seconds))?;
    writeln!(out, "<div class=\"pair\">")?;
    section(out, "Latency by percentile", "from when a tick was due", &percentile_plot(histograms))?;
    section(out, "Latency over time", "of what arrived in each second", &latency_over_time(&figures.seconds))?;
    writeln!(out, "</div>")?;
    percentile_table(out, histograms)?;
    if let Some(plot) = backlog(&figures.seconds) {
        section(out, "Backlog", "messages that the queues hold", &plot)?;
    }
    metrics(out, &figures.seconds)
}

fn pace(figures: &Figures) -> String {
    match (figures.rate, figures.speed) {
        (Some(rate), _) => {
            let shape = figures.shape.as_deref().filter(|shape| *shape != "constant");
            format!("Open loop, {rate} ticks/s asked{}", shape.map(|shape| format!(", {shape}")).unwrap_or_default())
        }
        (None, Some(speed)) => format!("Open loop, {speed} times as fast as it was recorded"),
        (None, None) => "Closed loop, as fast as the queue takes it".to_owned(),
    }
}

/// The figures that a reader looks for first.
fn cards(out: &mut String, figures: &Figures) -> fmt::Result {
    let p99 =
        |of: &[(f64, f64)]| of.iter().find(|(percentile, _)| *percentile == 99.0).map(|(_, ms)| duration(ms / 1e3));
    let backlog = figures.seconds.iter().filter_map(|second| second.backlog).max();
    let cards = [
        ("ticks sent", Some(count(figures.ticks as f64))),
        ("ticks/s", Some(count(figures.ticks_per_s))),
        ("messages", Some(count(figures.messages as f64))),
        ("send, p99", p99(&figures.latency_ms)),
        ("in the lake, p99", figures.lake.as_ref().and_then(|lake| p99(&lake.latency_ms))),
        ("alert, p99", figures.alerts.as_ref().and_then(|alerts| p99(&alerts.latency_ms))),
        ("backlog at most", backlog.map(|messages| count(messages as f64))),
        ("sent again", Some(count(figures.retries as f64))),
    ];
    writeln!(out, "<dl>")?;
    for (name, value) in cards {
        if let Some(value) = value {
            writeln!(out, "<div><dd>{value}</dd><dt>{name}</dt></div>")?;
        }
    }
    writeln!(out, "</dl>")
}

fn section(out: &mut String, title: &str, about: &str, plot: &Plot<'_>) -> fmt::Result {
    writeln!(out, "<section><h2>{title} <small>{about}</small></h2>")?;
    writeln!(out, "{}{}</section>", legend(plot), plot.svg())
}

/// The names of a plot's lines beside their colors.
pub(crate) fn legend(plot: &Plot<'_>) -> String {
    let name = |series: &Series<'_>| {
        let RGBColor(r, g, b) = series.color;
        format!("<span><i style=\"background:rgb({r},{g},{b})\"></i>{}</span>", escaped(series.name))
    };
    let names: String = plot.series.iter().filter(|series| !series.points.is_empty()).map(name).collect();
    format!("<p class=\"legend\">{names}</p>\n")
}

/// A line over the time of the run.
fn over_time<'a>(
    name: &'a str,
    color: RGBColor,
    seconds: &[Second],
    value: impl Fn(&Second) -> Option<f64>,
) -> Series<'a> {
    Series::new(name, color, seconds.iter().filter_map(|second| Some((second.at_s, value(second)?))))
}

/// The increase per second of a count that only goes up. If it goes down, it began anew: that step is left out.
fn rate<'a>(name: &'a str, color: RGBColor, seconds: &[Second], total: impl Fn(&Second) -> Option<f64>) -> Series<'a> {
    let known: Vec<(f64, f64)> = seconds.iter().filter_map(|second| Some((second.at_s, total(second)?))).collect();
    let steps = known.windows(2).map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0)));
    Series::new(name, color, steps.filter(|(_, rate)| *rate >= 0.0))
}

fn plot<'a>(size: (u32, u32), unit: Unit, is_log: bool, seconds: &[Second], series: Vec<Series<'a>>) -> Plot<'a> {
    let values = || series.iter().flat_map(|series| series.points.iter().map(|(_, value)| *value));
    let y = if is_log { Axis::log(unit, values()) } else { Axis::linear(unit, values()) };
    let x = Axis::linear(Unit::Seconds, seconds.iter().map(|second| second.at_s));
    Plot { size, x, y, series }
}

fn throughput(seconds: &[Second]) -> Plot<'static> {
    let nothing =
        Second { ticks: 0, stored: seconds.first().and_then(|second| second.stored.map(|_| 0)), ..Second::default() };
    let from_nothing: Vec<Second> = std::iter::once(nothing).chain(seconds.iter().cloned()).collect();
    let series = vec![
        over_time("asked", GREY, seconds, |second| second.asked_per_s),
        rate("in the lake", GREEN, &from_nothing, |second| second.stored.map(|ticks| ticks as f64)),
        rate("sent", BLUE, &from_nothing, |second| Some(second.ticks as f64)),
    ];
    plot(WIDE, Unit::Count, false, seconds, series)
}

fn latency_over_time(seconds: &[Second]) -> Plot<'static> {
    fn ms(of: Option<Latency>, value: fn(Latency) -> f64) -> Option<f64> {
        of.map(value)
    }
    let series = vec![
        over_time("send, longest", GREY, seconds, |second| ms(second.send, |latency| latency.max_ms)),
        over_time("send, p99", ORANGE, seconds, |second| ms(second.send, |latency| latency.p99_ms)),
        over_time("send, p50", BLUE, seconds, |second| ms(second.send, |latency| latency.p50_ms)),
        over_time("in the lake, p99", GREEN, seconds, |second| ms(second.lake, |latency| latency.p99_ms)),
    ];
    plot(HALF, Unit::Milliseconds, true, seconds, series)
}

fn backlog(seconds: &[Second]) -> Option<Plot<'static>> {
    let series = vec![
        over_time("waiting and in flight", GREY, seconds, |second| second.backlog.map(|messages| messages as f64)),
        over_time("waiting", RED, seconds, |second| second.waiting.map(|messages| messages as f64)),
    ];
    let is_known = series.iter().any(|series| !series.points.is_empty());
    is_known.then(|| plot(WIDE, Unit::Count, false, seconds, series))
}

/// The name of a histogram and of what it counts, in a reader's words, and its color.
fn name_of(histogram: &str) -> (&'static str, &'static str, RGBColor) {
    match histogram {
        "send" => ("sent", "batches", BLUE),
        "lake" => ("in the lake", "ticks", GREEN),
        _ => ("alert arrived", "alerts", ORANGE),
    }
}

/// Uses the scale of `HdrHistogram`'s plotters: each power of ten is one more nine.
fn percentile_plot(histograms: &[(&str, &Histogram<u64>)]) -> Plot<'static> {
    /// Steps within each half of the way to 100 %.
    const STEPS: u32 = 5;
    let line = |(name, histogram): &(&str, &Histogram<u64>)| {
        let (name, _, color) = name_of(name);
        let last = histogram.len() as f64;
        let point = |value: hdrhistogram::iterators::IterationValue<u64>| {
            // At quantile 1 the scale has no end. So the last value is drawn at the quantile 1 - 1 / count.
            let nines = (1.0 / (1.0 - value.quantile()).max(1.0 / last)).max(1.0);
            (nines, value.value_iterated_to() as f64 / 1e3)
        };
        Series::new(name, color, histogram.iter_quantiles(STEPS).map(point))
    };
    let series: Vec<Series<'_>> = histograms.iter().map(line).collect();
    let points = || series.iter().flat_map(|series| series.points.iter());
    let x = Axis::log(Unit::Percentile, points().map(|(nines, _)| *nines));
    let y = Axis::log(Unit::Milliseconds, points().map(|(_, ms)| *ms));
    Plot { size: HALF, x, y, series }
}

fn percentile_table(out: &mut String, histograms: &[(&str, &Histogram<u64>)]) -> fmt::Result {
    let seen = || histograms.iter().filter(|(_, histogram)| !histogram.is_empty());
    write!(out, "<table><tr><th>percentile</th>")?;
    for (name, histogram) in seen() {
        let (name, counted, _) = name_of(name);
        write!(out, "<th>{name} <small>{} {counted}</small></th>", count(histogram.len() as f64))?;
    }
    writeln!(out, "</tr>")?;
    for percentile in PERCENTILES {
        write!(out, "<tr><td>{percentile}</td>")?;
        for (_, histogram) in seen() {
            write!(out, "<td>{}</td>", duration(histogram.value_at_percentile(percentile) as f64 / 1e6))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

/// A small plot for each metric of the consumer that changed.
fn metrics(out: &mut String, seconds: &[Second]) -> fmt::Result {
    let names: BTreeSet<&str> = seconds.iter().flat_map(|second| second.metrics.keys().map(String::as_str)).collect();
    let plots: Vec<(String, Plot<'_>)> = names.iter().filter_map(|name| metric(name, &names, seconds)).collect();
    if plots.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>The consumer <small>what its metrics say; those that did not change are left out</small></h2>")?;
    writeln!(out, "<div class=\"many\">")?;
    for (title, plot) in plots.iter().take(METRICS_MAX) {
        writeln!(out, "<figure><figcaption>{}</figcaption>{}</figure>", escaped(title), plot.svg())?;
    }
    writeln!(out, "</div>")?;
    if plots.len() > METRICS_MAX {
        writeln!(out, "<p>and {} more in report.json</p>", plots.len() - METRICS_MAX)?;
    }
    Ok(())
}

/// Plots a counter as a rate, a gauge as it is, and a histogram as the mean of each second.
fn metric<'a>(name: &'a str, names: &BTreeSet<&str>, seconds: &[Second]) -> Option<(String, Plot<'a>)> {
    let value = |name: &str, second: &Second| second.metrics.get(name).map(|metric| metric.value);
    let unit = if name.contains("seconds") { Unit::Seconds } else { Unit::Count };
    let (title, unit, series) = if let Some(family) = name.strip_suffix("_sum") {
        let counted = format!("{family}_count");
        let known =
            seconds.iter().filter_map(|second| Some((second.at_s, value(name, second)?, value(&counted, second)?)));
        let known: Vec<(f64, f64, f64)> = known.collect();
        let means = known.windows(2).filter(|pair| pair[1].2 > pair[0].2);
        let means = means.map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].2 - pair[0].2)));
        (format!("{family}, mean"), unit, Series::new(name, BLUE, means))
    } else if name.strip_suffix("_count").is_some_and(|family| names.contains(format!("{family}_sum").as_str())) {
        return None;
    } else if seconds.iter().any(|second| second.metrics.get(name).is_some_and(|m| m.kind == MetricKind::Counter)) {
        (format!("{name}, per second"), Unit::Count, rate(name, BLUE, seconds, |second| value(name, second)))
    } else {
        (name.to_owned(), unit, over_time(name, BLUE, seconds, |second| value(name, second)))
    };
    let first = series.points.first()?.1;
    let is_constant = series.points.iter().all(|(_, value)| *value == first);
    (!is_constant).then(|| (title, plot(SMALL, unit, false, seconds, vec![series])))
}

/// Text within HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A whole page.
pub(crate) fn frame(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
        <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(title)
    )
}

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #20242c; background: #fff; max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px }
header { display: flex; align-items: baseline; gap: 14px; flex-wrap: wrap }
h1 { font-size: 24px; margin: 0 }
h2 { font-size: 17px; margin: 34px 0 4px }
small, .legend, dt { color: #6b7280; font-weight: normal; font-size: 13px }
p { margin: 6px 0 }
.good, .bad, .odd { border-radius: 4px; padding: 1px 9px; font-size: 13px; color: #fff; background: #16965a }
.bad { background: #c8283c }
.odd { background: #d97706 }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 10px; margin: 18px 0 0 }
dl div { border: 1px solid #e5e7eb; border-radius: 6px; padding: 8px 12px }
dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums }
.legend span { margin-right: 16px; white-space: nowrap }
.legend i { display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 20px }
.many { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 10px 15px }
figure { margin: 8px 0 0 }
figcaption { font-size: 12px; color: #4b5563; overflow-wrap: anywhere }
svg { width: 100%; height: auto; display: block }
table { border-collapse: collapse; margin: 20px 0 0; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 3px 18px 3px 0; border-bottom: 1px solid #e5e7eb; font-weight: normal }
th { color: #4b5563 }
";

#[cfg(test)]
mod tests;
