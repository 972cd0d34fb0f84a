//! GET by tasks, with one number of worker threads, as lines in an SVG.

use std::{error::Error, path::Path};

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::{candidate::Kind, cell::Workload, sample::Sample, summary::Summary, workers::Workers};

const SIZE: (u32, u32) = (960, 540);

/// Told apart by those who see few colours too (Okabe and Ito); ours, the first, in red.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    BLACK,
];

/// Of one kind.
struct Panel {
    title: String,
    tasks: Vec<usize>,
    lines: Vec<Line>,
}

impl Panel {
    /// All in all: leaves the corner at the upper right free.
    fn falls(&self) -> bool {
        let ends = |line: &Line| Some(line.points.last()?.1.ln() - line.points.first()?.1.ln());
        self.lines.iter().filter_map(ends).sum::<f64>() < 0.0
    }
}

struct Line {
    candidate: &'static str,
    /// By the index of the number of tasks.
    points: Vec<(f64, f64)>,
}

/// Times as much is as far apart everywhere: the scale is logarithmic.
pub(crate) fn draw(
    path: &Path,
    title: &str,
    summary: &Summary,
    workers: Workers,
    number: fn(&Sample) -> f64,
) -> Result<()> {
    let panels: Vec<_> = [Kind::Exclusive, Kind::Shared]
        .into_iter()
        .map(|kind| panel(summary, kind, workers, number))
        .filter(|panel| !panel.lines.is_empty())
        .collect();
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    draw_panels(&area, title, &panels)
        .map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn panel(summary: &Summary, kind: Kind, workers: Workers, number: fn(&Sample) -> f64) -> Panel {
    let cells: Vec<_> = summary.table(Workload::Get, workers).collect();
    let mut lines: Vec<Line> = Vec::new();
    for (index, (_, rows)) in cells.iter().enumerate() {
        for row in rows.iter().filter(|row| row.kind == kind) {
            let point = (index as f64, number(&row.medians));
            let known = lines
                .iter_mut()
                .find(|line| line.candidate == row.candidate);
            match known {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    candidate: row.candidate,
                    points: vec![point],
                }),
            }
        }
    }
    Panel {
        title: kind.to_string(),
        tasks: cells.iter().map(|(cell, _)| cell.tasks).collect(),
        lines,
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_panels(area: &Area<'_>, title: &str, panels: &[Panel]) -> Result<(), Box<dyn Error>> {
    area.fill(&WHITE)?;
    let below = area.titled(title, ("sans-serif", 22))?;
    for (area, panel) in below.split_evenly((1, panels.len())).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Result<(), Box<dyn Error>> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let lowest = points().map(|&(_, y)| y).fold(f64::MAX, f64::min);
    let highest = points().map(|&(_, y)| y).fold(0.0, f64::max);
    let last = panel.tasks.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.1..last + 0.1, (lowest / 1.2..highest * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("tasks")
        .x_labels(panel.tasks.len().max(2))
        .y_labels(20)
        .x_label_formatter(&|&x| label(&panel.tasks, x))
        .y_label_formatter(&|&y| short(y))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let series = LineSeries::new(line.points.iter().copied(), style).point_size(3);
        chart
            .draw_series(series)?
            .label(line.candidate)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let legend = if panel.falls() {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::LowerRight
    };
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// The number of tasks at this place, where there is one.
fn label(tasks: &[usize], x: f64) -> String {
    let place = tasks.iter().enumerate();
    let mut place = place.filter(|(index, _)| (x - *index as f64).abs() < 0.01);
    place
        .next()
        .map_or_else(String::new, |(_, tasks)| tasks.to_string())
}

fn short(number: f64) -> String {
    if number < 1e3 {
        number.to_string()
    } else if number < 1e6 {
        format!("{} k", number / 1e3)
    } else {
        format!("{} M", number / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_short() {
        for (number, text) in [(0.5, "0.5"), (20.0, "20"), (50_000.0, "50 k"), (2e6, "2 M")] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn labels_stand_where_a_number_of_tasks_is() {
        let tasks = [1, 16, 64];
        assert_eq!(label(&tasks, 1.0), "16");
        assert_eq!(label(&tasks, 0.5), "");
        assert_eq!(label(&tasks, 3.0), "");
    }
}
