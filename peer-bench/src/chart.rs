//! GET by tasks, as lines in an SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::{candidate::Kind, cell::Workload, sample::Sample, summary::Summary};

const SIZE: (u32, u32) = (960, 540);

/// Told apart by those who see few colours too (Okabe and Ito), with dark and light of some.
const COLOURS: [RGBColor; 11] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
    RGBColor(140, 40, 0),
    RGBColor(230, 159, 0),
    RGBColor(90, 60, 140),
    RGBColor(0, 80, 60),
    RGBColor(0, 0, 0),
];

struct Line {
    candidate: &'static str,
    kind: Kind,
    /// By the index of the number of tasks.
    points: Vec<(f64, f64)>,
}

pub(crate) fn draw(
    path: &Path,
    title: &str,
    summary: &Summary,
    number: fn(&Sample) -> f64,
) -> Result<()> {
    let (tasks, lines) = lines(summary, number);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    draw_lines(&area, title, &tasks, &lines)
        .and_then(|()| area.present().map_err(Into::into))
        .map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn lines(summary: &Summary, number: fn(&Sample) -> f64) -> (Vec<usize>, Vec<Line>) {
    let cells = summary.cells.iter();
    let cells: Vec<_> = cells
        .filter(|(cell, _)| cell.workload == Workload::Get)
        .collect();
    let tasks = cells.iter().map(|(cell, _)| cell.tasks).collect();
    let mut lines: Vec<Line> = Vec::new();
    for (index, (_, rows)) in cells.iter().enumerate() {
        for row in rows {
            let point = (index as f64, number(&row.medians));
            match lines
                .iter_mut()
                .find(|line| line.candidate == row.candidate)
            {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    candidate: row.candidate,
                    kind: row.kind,
                    points: vec![point],
                }),
            }
        }
    }
    (tasks, lines)
}

fn draw_lines(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    tasks: &[usize],
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let points = lines.iter().flat_map(|line| &line.points);
    let highest = points.map(|&(_, y)| y).fold(0.0, f64::max);
    let last = tasks.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(72)
        .build_cartesian_2d(-0.1..last + 0.1, 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("tasks")
        .x_labels(tasks.len().max(2))
        .x_label_formatter(&|&x| label(tasks, x))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        // Shared connections are thick, exclusive ones thin.
        let width = if line.kind == Kind::Shared { 3 } else { 1 };
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
            .label(line.candidate)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_where_a_number_of_tasks_is() {
        let tasks = [1, 16, 64];
        assert_eq!(label(&tasks, 1.0), "16");
        assert_eq!(label(&tasks, 0.5), "");
        assert_eq!(label(&tasks, 3.0), "");
    }
}
