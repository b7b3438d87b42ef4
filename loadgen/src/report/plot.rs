//! Lines over an axis, as SVG.
//!
//! This file owns the drawing. It does *not* own what is shown, or where the marks of an axis are (`axis`).

use plotters::prelude::*;

use super::axis::Axis;

pub(crate) const BLUE: RGBColor = RGBColor(37, 99, 235);
pub(crate) const GREEN: RGBColor = RGBColor(22, 150, 90);
pub(crate) const ORANGE: RGBColor = RGBColor(217, 119, 6);
pub(crate) const RED: RGBColor = RGBColor(200, 40, 60);
pub(crate) const GREY: RGBColor = RGBColor(150, 155, 165);

const INK: RGBColor = RGBColor(75, 80, 92);

/// One line.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) color: RGBColor,
    /// The values along both axes. A point for which an axis has no place is left out.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether a dot marks each point.
    pub(crate) dots: bool,
}

impl<'a> Series<'a> {
    pub(crate) fn new(name: &'a str, color: RGBColor, points: impl Iterator<Item = (f64, f64)>) -> Self {
        Self { name, color, points: points.collect(), dots: false }
    }
}

/// Some lines over the same axes.
pub(crate) struct Plot<'a> {
    pub(crate) size: (u32, u32),
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series<'a>>,
}

impl Plot<'_> {
    /// The plot as an `svg` element. It is empty if the plot cannot be drawn, which takes a size of nothing.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        if self.draw(&mut svg).is_err() {
            svg.clear();
        }
        svg
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let Self { size, x, y, series } = self;
        let root = SVGBackend::with_string(svg, *size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(58)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .x_labels(x.marks())
            .y_labels(y.marks())
            .label_style(("sans-serif", 13, &INK))
            .axis_style(GREY.mix(0.6))
            .bold_line_style(BLACK.mix(0.09))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for Series { color, points, dots, .. } in series {
            let color = *color;
            let placed = || points.iter().filter_map(|(at, value)| Some((x.place(*at)?, y.place(*value)?)));
            chart.draw_series(LineSeries::new(placed(), color.stroke_width(2)))?;
            if *dots {
                chart.draw_series(placed().map(|point| Circle::new(point, 4, color.filled())))?;
            }
        }
        root.present()?;
        drop(chart);
        drop(root);
        Ok(())
    }
}
