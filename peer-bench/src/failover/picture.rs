//! One round as an SVG: what each candidate's callers had acknowledged, by time.

use std::{error::Error, path::Path};

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::failover::{
    candidates,
    kind::Kind,
    round::{Player, Round, Times},
    track::{self, Track},
};

const WIDTH: u32 = 960;
const HEAD: u32 = 76;
const PANEL: u32 = 76;
const FOOT: u32 = 40;

// Told apart by those who see few colours too (Okabe and Ito).
const KEPT: RGBColor = RGBColor(0, 114, 178);
const LOST: RGBColor = RGBColor(213, 94, 0);

pub(crate) fn draw(path: &Path, round: &Round) -> Result<()> {
    let panels = u32::try_from(round.players.len()).unwrap_or(1);
    let size = (WIDTH, HEAD + panels * PANEL + FOOT);
    let area = SVGBackend::new(path, size).into_drawing_area();
    draw_all(&area, round).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_all(area: &Area<'_>, round: &Round) -> Result<(), Box<dyn Error>> {
    area.fill(&WHITE)?;
    let (head, mut rest) = area.split_vertically(HEAD);
    draw_head(&head, round)?;
    let mut players: Vec<_> = round.players.iter().collect();
    // Rounds begin with another candidate each; pictures do not.
    let place = |player: &&Player| {
        let mut all = candidates::ALL.iter();
        all.position(|candidate| candidate.name == player.candidate)
    };
    players.sort_by_key(place);
    let highest = players.iter().flat_map(|player| &player.track.kept);
    // What waited comes in one bin; it need not fit.
    let steady = highest.copied().filter(|&count| count > 0);
    let ceiling = 4.0 * f64::from(middle(steady.collect()));
    let last = players.len().saturating_sub(1);
    for (index, player) in players.into_iter().enumerate() {
        let (panel, below) =
            rest.split_vertically(if index == last { PANEL + FOOT } else { PANEL });
        draw_panel(&panel, player, round, ceiling.max(1.0), index == last)?;
        rest = below;
    }
    area.present()?;
    Ok(())
}

fn draw_head(head: &Area<'_>, round: &Round) -> Result<(), Box<dyn Error>> {
    let title = format!("{}: acknowledged writes, by 50 ms", round.kind);
    head.draw_text(&title, &("sans-serif", 22).into_text_style(head), (20, 10))?;
    let style = ("sans-serif", 14).into_text_style(head);
    let mut x = 20;
    for (colour, text) in [(KEPT, "kept"), (LOST, "lost afterwards")] {
        head.draw(&Rectangle::new([(x, 46), (x + 14, 60)], colour.filled()))?;
        head.draw_text(text, &style, (x + 20, 46))?;
        x += 130;
    }
    for mark in marks(round.kind, &round.times) {
        head.draw(&PathElement::new([(x, 46), (x, 60)], mark.style()))?;
        head.draw_text(mark.name, &style, (x + 6, 46))?;
        x += 30 + 7 * i32::try_from(mark.name.len()).unwrap_or(0);
    }
    Ok(())
}

struct Mark {
    name: &'static str,
    /// Seconds after the fault.
    at: f64,
    colour: RGBColor,
}

impl Mark {
    fn style(&self) -> ShapeStyle {
        self.colour.stroke_width(2)
    }
}

fn marks(kind: Kind, times: &Times) -> Vec<Mark> {
    let mended = match kind {
        Kind::Replicas => "started again",
        _ => "goes on",
    };
    [
        ("fault", Some(0.0), BLACK),
        ("first sign", times.sign, RGBColor(230, 159, 0)),
        ("takes writes", times.writable, RGBColor(0, 158, 115)),
        ("announced", times.announced, RGBColor(86, 180, 233)),
        ("+switch-master", times.switched, RGBColor(204, 121, 167)),
        (mended, times.mended, RGBColor(140, 140, 140)),
        ("demoted", times.demoted, RGBColor(90, 60, 30)),
    ]
    .into_iter()
    .filter_map(|(name, at, colour)| {
        Some(Mark {
            name,
            at: at? / 1e3,
            colour,
        })
    })
    .collect()
}

fn draw_panel(
    area: &Area<'_>,
    player: &Player,
    round: &Round,
    ceiling: f64,
    is_last: bool,
) -> Result<(), Box<dyn Error>> {
    let end = round.times.end / 1e3;
    let mut chart = ChartBuilder::on(area)
        .margin_left(20)
        .margin_right(20)
        .margin_top(20)
        .x_label_area_size(if is_last { FOOT - 4 } else { 0 })
        .build_cartesian_2d(track::seconds(0)..end, 0.0..ceiling)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().light_line_style(TRANSPARENT);
    mesh.disable_y_axis().x_labels(12);
    if is_last {
        mesh.x_desc("seconds after the fault");
        mesh.label_style(("sans-serif", 14));
    }
    mesh.draw()?;
    for (counts, colour) in [
        (total(&player.track), LOST),
        (player.track.kept.clone(), KEPT),
    ] {
        let points = outline(&counts, ceiling);
        chart.draw_series([Polygon::new(points, colour.filled())])?;
    }
    for mark in marks(round.kind, &round.times) {
        let line = [(mark.at, 0.0), (mark.at, ceiling)];
        chart.draw_series([PathElement::new(line, mark.style())])?;
    }
    let style = ("sans-serif", 15).into_text_style(area);
    area.draw_text(&caption(player), &style, (20, 2))?;
    Ok(())
}

fn caption(player: &Player) -> String {
    let figures = &player.figures;
    format!(
        "{}: {} acknowledged, {} lost; {} failed; longest stall {:.0} ms",
        player.candidate,
        figures.acknowledged,
        figures.lost,
        figures.failed(),
        figures.write_stall
    )
}

/// Kept and lost together: what is lost stands above what is kept.
fn total(track: &Track) -> Vec<u32> {
    let both = track.kept.iter().zip(&track.lost);
    both.map(|(kept, lost)| kept + lost).collect()
}

/// Steps, closed along the axis, with a point only where something changes.
fn outline(counts: &[u32], ceiling: f64) -> Vec<(f64, f64)> {
    let mut points = vec![(track::seconds(0), 0.0)];
    let mut height = 0.0;
    for (bin, &count) in counts.iter().enumerate() {
        let next = f64::from(count).min(ceiling);
        if next != height {
            let x = track::seconds(bin);
            points.extend([(x, height), (x, next)]);
            height = next;
        }
    }
    let end = track::seconds(counts.len());
    points.extend([(end, height), (end, 0.0)]);
    points
}

fn middle(mut counts: Vec<u32>) -> u32 {
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_has_a_step_for_each_change_and_is_cut_at_the_ceiling() {
        let at = track::seconds;
        assert_eq!(
            outline(&[2, 2, 90, 0], 50.0),
            [
                (at(0), 0.0),
                (at(0), 0.0),
                (at(0), 2.0),
                (at(2), 2.0),
                (at(2), 50.0),
                (at(3), 50.0),
                (at(3), 0.0),
                (at(4), 0.0),
                (at(4), 0.0),
            ]
        );
    }
}
