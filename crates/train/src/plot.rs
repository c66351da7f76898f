//! Curves of a training as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Error, History};

/// Width of the chart and height of one panel, in pixels.
const PANEL: (u32, u32) = (640, 300);

impl History {
    /// Draws loss and metrics by epoch into an SVG file: one panel each, training and validation
    /// in two colours.
    ///
    /// # Errors
    /// If no epoch ran, or the file cannot be written.
    pub fn plot(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let failed = |message: String| Error::Write {
            path: path.to_owned(),
            message,
        };
        let names = self.names();
        if names.is_empty() {
            return Err(failed("no epoch ran".to_owned()));
        }
        let mut svg = String::new();
        self.draw(&names, &mut svg)
            .map_err(|e| failed(e.to_string()))?;
        std::fs::write(path, svg).map_err(|e| failed(e.to_string()))
    }

    fn draw(&self, names: &[&str], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let panels = u32::try_from(names.len())?;
        let size = (PANEL.0, PANEL.1 * panels);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (name, area) in names.iter().zip(root.split_evenly((names.len(), 1))) {
            self.panel(name, &area)?;
        }
        root.present()?;
        Ok(())
    }

    fn panel(
        &self,
        name: &str,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (train, validation) = self.curves(name);
        let first = self.epochs.first().map_or(0, |e| e.number);
        let last = self.epochs.last().map_or(0, |e| e.number);
        let (low, high) = range(train.iter().chain(&validation));
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(
                f64::from(first)..f64::from(last).max(f64::from(first) + 1.0),
                low..high,
            )?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .y_desc(name)
            .max_light_lines(0)
            .draw()?;
        let curves = [("training", train, BLUE), ("validation", validation, RED)];
        for (label, values, color) in curves {
            // A value that is not finite leaves a gap.
            let points = (first..)
                .map(f64::from)
                .zip(values)
                .filter(|(_, v)| v.is_finite());
            let points: Vec<(f64, f64)> = points.collect();
            if points.is_empty() {
                continue;
            }
            let line = LineSeries::new(points, color.stroke_width(2));
            chart.draw_series(line)?.label(label).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 16, y)], color.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.8))
            .draw()?;
        Ok(())
    }
}

/// The range of finite values with a margin of 5 %; 0 to 1 if there are none.
fn range<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-6);
    (low - margin, high + margin)
}
