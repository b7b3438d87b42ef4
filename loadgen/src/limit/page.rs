//! The curve of a search, as a page and as JSON.
//!
//! It does *not* own the verdicts.

use std::{fmt::Write as _, io::Write as _, path::Path, time::Duration};

use super::{Trial, Verdict};
use crate::report::{
    Axis, BLUE, GREY, ORANGE, Plot, ReportError, Series, Unit, count, duration, escaped, frame, legend, write_file,
};

/// Writes `limit.html` and `limit.json` into a folder, which is created.
pub fn write(dir: &Path, title: &str, trials: &[Trial], latency_max: Duration) -> Result<(), ReportError> {
    let page = page(title, trials, latency_max);
    write_file(&dir.join("limit.html"), |file| file.write_all(page.as_bytes()))?;
    write_file(&dir.join("limit.json"), |file| Ok(serde_json::to_writer_pretty(file, trials)?))
}

fn page(title: &str, trials: &[Trial], latency_max: Duration) -> String {
    let mut by_rate: Vec<&Trial> = trials.iter().collect();
    by_rate.sort_by_key(|trial| trial.asked_per_s);
    let sustained = by_rate.iter().rev().find(|trial| trial.verdict == Verdict::Sustained);
    let (class, found) = match sustained {
        Some(trial) => ("good", format!("{} ticks/s are sustained", count(trial.asked_per_s as f64))),
        None => ("bad", "no rate that was tried is sustained".to_owned()),
    };
    let above = sustained.and_then(|best| by_rate.iter().find(|trial| trial.asked_per_s > best.asked_per_s));
    let above = match above {
        Some(trial) if trial.verdict == Verdict::Generator => {
            "Beyond that the generator could not keep its own schedule: the limit may be higher.".to_owned()
        }
        Some(trial) => format!("{} ticks/s were too much: {}.", trial.asked_per_s, trial.verdict),
        None => String::new(),
    };
    let plot = curve(&by_rate, latency_max);
    let bound = duration(latency_max.as_secs_f64());
    let mut rows = String::new();
    for trial in trials {
        // A String takes everything.
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td><td>{}</td></tr>",
            trial.asked_per_s,
            count(trial.sent_per_s),
            count(trial.messages_per_s),
            duration(trial.p50_s),
            duration(trial.p99_s),
            trial.waiting,
            trial.growth_per_s,
            trial.verdict
        );
    }
    let body = format!(
        "<header><h1>{}</h1><span class=\"{class}\">{found}</span></header>\n<p>{above}</p>\n\
        <section><h2>Latency by rate <small>from when a tick was due until it was in the lake; p99 may be {bound}</small></h2>\n\
        {}{}</section>\n\
        <table><tr><th>asked ticks/s</th><th>sent</th><th>messages/s</th><th>p50</th><th>p99</th><th>waiting</th>\
        <th>growth per s</th><th>verdict</th></tr>\n{rows}</table>\n",
        escaped(title),
        legend(&plot),
        plot.svg()
    );
    frame(title, &body)
}

fn curve(by_rate: &[&Trial], latency_max: Duration) -> Plot<'static> {
    let rate = |trial: &&&Trial| trial.asked_per_s as f64;
    let line = |name, color, value: fn(&Trial) -> f64| {
        let points = by_rate.iter().map(|trial| (rate(&trial), value(trial)));
        Series { dots: true, ..Series::new(name, color, points) }
    };
    let highest = by_rate.iter().map(|trial| rate(&trial)).fold(0.0, f64::max);
    let bound = [0.0, highest].map(|rate| (rate, latency_max.as_secs_f64()));
    let series = vec![
        Series::new("p99 allowed", GREY, bound.into_iter()),
        line("p50", BLUE, |trial| trial.p50_s),
        line("p99", ORANGE, |trial| trial.p99_s),
    ];
    let x = Axis::linear(Unit::Count, [highest].into_iter());
    let y = Axis::log(Unit::Seconds, series.iter().flat_map(|series| series.points.iter().map(|point| point.1)));
    Plot { size: (1_080, 380), x, y, series }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_every_trial_and_what_was_found() {
        let trial = |asked_per_s, verdict| Trial {
            asked_per_s,
            sent_per_s: 1.0,
            messages_per_s: 1.0,
            p50_s: 0.5,
            p99_s: 2.5,
            waiting: 3,
            growth_per_s: 0.1,
            verdict,
        };
        let trials = [trial(1_000, Verdict::Sustained), trial(2_000, Verdict::Late), trial(1_500, Verdict::Sustained)];
        let page = page("a < b", &trials, Duration::from_secs(2));
        assert!(page.contains("1.5k ticks/s are sustained") && page.contains("<td>late</td>"), "{page}");
        assert!(page.contains("2000 ticks/s were too much: late."), "{page}");
        assert!(page.contains("a &lt; b") && !page.contains("NaN"));
        assert_eq!((page.matches("<circle").count(), page.matches("<tr>").count()), (6, 4));
    }
}
