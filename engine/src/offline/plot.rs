//! Draws a symbol as SVG: its price, the band that judges it, and its alerts, over time.
//!
//! This file owns the drawing. It does *not* own the points ([`super::picture`]).

use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use plotters::prelude::*;
use ticklake_core::alert::{Alert, Kind, State};

use super::picture::{Picture, Point};

const SIZE: (u32, u32) = (1_600, 800);

/// The plot has at most so many points, a few for each pixel. If there are more, they are merged.
const POINTS_MAX: usize = 4_000;

const PRICE: RGBColor = RGBColor(30, 60, 120);
const EXPECTED: RGBColor = RGBColor(240, 150, 20);

/// Draws the picture into the file.
pub fn draw(picture: &Picture, path: &Path) -> anyhow::Result<()> {
    let points = merged(&picture.points);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        bail!("failed to draw {}: there is no tick of it; choose a symbol of the file", picture.symbol);
    };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    plot(picture, &points, (first.from_us, last.from_us + 1_000_000), &root)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("failed to draw {}", path.display()))
}

fn plot(
    picture: &Picture,
    points: &[Point],
    (from_us, to_us): (i64, i64),
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let fail = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    root.fill(&WHITE).map_err(fail)?;
    let time = |us: i64| Timestamp::from_microsecond(us).unwrap_or_default();
    let caption = format!("{}, {:.0} to {:.0}", picture.symbol, time(from_us), time(to_us));
    let (low, high) = range(points);
    let mut chart = ChartBuilder::on(root)
        .caption(caption, ("sans-serif", 22))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(from_us..to_us, low..high)
        .map_err(fail)?;
    chart
        .configure_mesh()
        .x_labels(12)
        .x_label_formatter(&|us| time(*us).strftime("%H:%M:%S").to_string())
        .light_line_style(BLACK.mix(0.05))
        .draw()
        .map_err(fail)?;
    let bands = |side: f64| {
        let edge = move |point: &Point| point.band.map(|(expected, reach)| (point.from_us, expected + side * reach));
        points.iter().filter_map(edge).collect::<Vec<_>>()
    };
    let between = bands(1.0).into_iter().chain(bands(-1.0).into_iter().rev()).collect::<Vec<_>>();
    if !between.is_empty() {
        chart
            .draw_series([Polygon::new(between, EXPECTED.mix(0.15))])
            .map_err(fail)?
            .label("not far")
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], EXPECTED.mix(0.3).filled()));
    }
    chart
        .draw_series(LineSeries::new(bands(0.0), EXPECTED.stroke_width(1)))
        .map_err(fail)?
        .label("expected: the median of the last prices")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], EXPECTED));
    let prices =
        points.iter().flat_map(|point| [point.low, point.high, point.last].map(|price| (point.from_us, price)));
    chart
        .draw_series(LineSeries::new(prices, PRICE.stroke_width(1)))
        .map_err(fail)?
        .label("price")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], PRICE));
    for kind in Kind::ALL {
        let marks = marks(picture, points, kind, (from_us, to_us), (low, high));
        if marks.is_empty() {
            continue;
        }
        let (color, count) = (color(kind), marks.len());
        let spans = marks
            .iter()
            .map(|&(at, until, price)| PathElement::new([(at, price), (until, price)], color.stroke_width(2)));
        chart.draw_series(spans).map_err(fail)?;
        chart
            .draw_series(marks.iter().map(|&(at, _, price)| TriangleMarker::new((at, price), 9, color.filled())))
            .map_err(fail)?
            .label(format!("{} ({count})", kind.as_str()))
            .legend(move |(x, y)| TriangleMarker::new((x + 8, y), 6, color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 15))
        .draw()
        .map_err(fail)?;
    root.present().map_err(fail)?;
    Ok(())
}

/// The events of `kind`: each with its begin and end, microseconds since the Unix epoch, and its price.
fn marks(
    picture: &Picture,
    points: &[Point],
    kind: Kind,
    (from_us, to_us): (i64, i64),
    (low, high): (f64, f64),
) -> Vec<(i64, i64, f64)> {
    let mark = |alert: &Alert| {
        let price = if is_price(kind) { alert.observed } else { price_at(points, alert.ts_us) };
        let closing = picture.alerts.iter().find(|close| close.state == State::Close && close.event == alert.event);
        let until_us = closing.map_or(to_us, |close| close.ts_us);
        (alert.ts_us.clamp(from_us, to_us), until_us.clamp(from_us, to_us), price.clamp(low, high))
    };
    let opened = picture.alerts.iter().filter(|alert| alert.kind == kind && alert.state == State::Open);
    opened.map(mark).collect()
}

/// Merges neighbours until at most [`POINTS_MAX`] points are left.
fn merged(points: &[Point]) -> Vec<Point> {
    let merge = |points: &[Point]| {
        points.iter().copied().reduce(|a, b| Point {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            from_us: a.from_us,
            ..b
        })
    };
    points.chunks(points.len().div_ceil(POINTS_MAX).max(1)).filter_map(merge).collect()
}

/// The range of prices that is shown: nearly all. One price that is ten times as high would make the rest a flat line.
fn range(points: &[Point]) -> (f64, f64) {
    let part = |of: fn(&Point) -> f64, part: f64| {
        let mut all: Vec<f64> = points.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[((all.len() - 1) as f64 * part) as usize]
    };
    let (low, high) = (part(|point| point.low, 0.001), part(|point| point.high, 0.999));
    let room = ((high - low) * 0.25).max(high * 1e-3).max(f64::MIN_POSITIVE);
    (low - room, high + room)
}

fn is_price(kind: Kind) -> bool {
    matches!(kind, Kind::Spike | Kind::LevelShift | Kind::Threshold | Kind::Move | Kind::LimitBand)
}

fn price_at(points: &[Point], ts_us: i64) -> f64 {
    let at = points.partition_point(|point| point.from_us <= ts_us);
    points[at.saturating_sub(1)].last
}

fn color(kind: Kind) -> RGBColor {
    match kind {
        Kind::Spike => RGBColor(210, 30, 30),
        Kind::LevelShift => RGBColor(150, 40, 180),
        Kind::Threshold => RGBColor(90, 90, 90),
        Kind::Move => RGBColor(20, 140, 60),
        Kind::Volatility => RGBColor(0, 150, 170),
        Kind::Volume => RGBColor(120, 90, 30),
        Kind::Gap => RGBColor(30, 30, 30),
        Kind::LimitBand => RGBColor(230, 60, 140),
        Kind::Clock | Kind::Overflow => RGBColor(110, 110, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(from_us: i64, price: f64) -> Point {
        Point { from_us, low: price, high: price, last: price, band: Some((price, 0.5)) }
    }

    #[test]
    fn many_points_are_merged_without_losing_an_extreme() {
        let mut points: Vec<Point> = (0..20_001).map(|at| point(at, 100.0)).collect();
        points[7_777] = point(7_777, 150.0);
        let drawn = merged(&points);
        assert!(drawn.len() <= POINTS_MAX, "{}", drawn.len());
        assert_eq!(drawn.iter().map(|point| point.high).fold(0.0, f64::max), 150.0);
        assert_eq!(merged(&points[..3]), points[..3]);
    }

    #[test]
    fn one_mad_price_does_not_flatten_the_rest() {
        let mut points: Vec<Point> = (0..5_000).map(|at| point(at, 100.0 + (at % 10) as f64 / 10.0)).collect();
        points[9] = point(9, 1_000.0);
        let (low, high) = range(&points);
        assert!(low > 99.0 && high < 102.0, "{low} {high}");
    }

    #[test]
    fn symbol_without_ticks_is_an_error() {
        let error = draw(&Picture::new("NONE"), Path::new("/nowhere/plot.svg")).unwrap_err();
        assert!(error.to_string().contains("no tick of it"), "{error}");
    }
}
