//! A grid as a picture that stands by itself: SVG, with axes, legend, boundary, and what follows in words.

use std::fmt::Write;

use super::summary::{Brief, Summary};
use crate::verdict::words::wrapped;

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
/// Room around the map: left for the second axis, below for the first and the words.
const LEFT: usize = 120;
const TOP: usize = 64;
const RIGHT: usize = 24;
/// Labels on an axis at most.
const LABELS: usize = 12;
/// Colours that nobody confuses, whatever their eyes.
const GOOD: [u8; 3] = [0x1f, 0x78, 0xb4];
const HALF: [u8; 3] = [0xf7, 0xf3, 0xe8];
const BAD: [u8; 3] = [0xd9, 0x5f, 0x02];
const NOTHING: [u8; 3] = [0xc8, 0xc8, 0xc8];

/// The chart.
#[must_use]
pub fn svg(summary: &Summary<'_>) -> String {
    let sentences: Vec<String> =
        summary.recommendation().iter().flat_map(|sentence| wrapped(sentence, 130)).collect();
    let bottom = 96 + sentences.len() * 17;
    let height = TOP + HEIGHT + bottom;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {height}\" width=\"{total}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        total = LEFT + WIDTH + RIGHT,
    );
    title(&mut svg, summary);
    cells(&mut svg, summary);
    boundary(&mut svg, summary);
    axes(&mut svg, summary);
    legend(&mut svg);
    for (index, sentence) in sentences.iter().enumerate() {
        text(&mut svg, LEFT as f64, (TOP + HEIGHT + 96 + index * 17) as f64, "", sentence);
    }
    svg.push_str("</svg>\n");
    svg
}

fn title(svg: &mut String, summary: &Summary<'_>) {
    let plan = summary.sweep().first_plan();
    let heading = format!("{}: who is first, the kubelet or the OOM killer? (PREDICTED)", plan.name);
    let _ = writeln!(svg, "<title>{}</title>", escaped(&heading));
    text(svg, LEFT as f64, 28.0, "font-size=\"18\" font-weight=\"600\"", &heading);
    if let Some(description) = &plan.description {
        text(svg, LEFT as f64, 48.0, "fill=\"#555555\"", description);
    }
}

/// Cells of one colour beside each other are one rectangle, so that a grid of a million stays a file that opens.
fn cells(svg: &mut String, summary: &Summary<'_>) {
    let (columns, rows) = (summary.columns(), summary.rows());
    for row in 0..rows {
        let mut from = 0;
        while from < columns {
            let brief = summary.worst(from, row);
            let mut to = from + 1;
            while to < columns && summary.worst(to, row) == brief {
                to += 1;
            }
            let (left, right) = (across(from, columns), across(to, columns));
            let (lower, upper) = (up(row, rows), up(row + 1, rows));
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.2}\" y=\"{upper:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{}\"><title>{}</title></rect>",
                right - left,
                lower - upper,
                colour(brief),
                escaped(&described(summary, from, to, row, brief)),
            );
            from = to;
        }
    }
}

fn described(summary: &Summary<'_>, from: usize, to: usize, row: usize, brief: Brief) -> String {
    let axes = &summary.sweep().axes;
    let Some(first) = axes.first() else { return String::new() };
    let setting = if to - from == 1 {
        first.values[from].text.clone()
    } else {
        format!("{} to {}", first.values[from].text, first.values[to - 1].text)
    };
    let second = axes.get(1).map_or(String::new(), |axis| format!(", {}", axis.values[row].text));
    let percent = |part: u8| (u32::from(part) * 100 + 127) / 255;
    format!(
        "{setting}{second}: evicted in time {} %, OOM-killed {} %, nobody went {} %",
        percent(brief.in_time),
        percent(brief.oom_killed),
        percent(brief.nobody)
    )
}

/// Up to where each setting holds.
fn boundary(svg: &mut String, summary: &Summary<'_>) {
    if summary.sweep().axes.len() < 2 {
        return;
    }
    let (columns, rows) = (summary.columns(), summary.rows());
    let mut points = String::new();
    for column in 0..columns {
        let level = up(summary.holds(column), rows);
        let _ = write!(
            points,
            "{:.2},{level:.2} {:.2},{level:.2} ",
            across(column, columns),
            across(column + 1, columns)
        );
    }
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#111111\" stroke-width=\"2.5\"><title>below this line the OOM killer never came first</title></polyline>",
        points.trim_end()
    );
}

fn axes(svg: &mut String, summary: &Summary<'_>) {
    let axes = &summary.sweep().axes;
    let (columns, rows) = (summary.columns(), summary.rows());
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#333333\"/>"
    );
    if let Some(first) = axes.first() {
        for column in labelled(columns) {
            let middle = f64::midpoint(across(column, columns), across(column + 1, columns));
            let value = &first.values[column].text;
            text(svg, middle, (TOP + HEIGHT + 18) as f64, "text-anchor=\"middle\"", value);
        }
        let middle = (LEFT + WIDTH / 2) as f64;
        let style = "text-anchor=\"middle\" font-weight=\"600\"";
        text(svg, middle, (TOP + HEIGHT + 40) as f64, style, &first.title());
    }
    if let Some(second) = axes.get(1) {
        for row in labelled(rows) {
            let middle = f64::midpoint(up(row, rows), up(row + 1, rows)) + 4.0;
            text(svg, (LEFT - 8) as f64, middle, "text-anchor=\"end\"", &second.values[row].text);
        }
        let (x, y) = (18, TOP + HEIGHT / 2);
        let style = format!("text-anchor=\"middle\" font-weight=\"600\" transform=\"rotate(-90 {x} {y})\"");
        text(svg, x as f64, y as f64, &style, &second.title());
    }
}

fn legend(svg: &mut String) {
    let kinds = [
        (GOOD, "always evicted in time"),
        (HALF, "in half of the phases"),
        (BAD, "always OOM-killed"),
        (NOTHING, "nobody went"),
    ];
    let y = TOP + HEIGHT + 56;
    for (index, (colour, words)) in kinds.into_iter().enumerate() {
        let x = LEFT + index * 190;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{}\" stroke=\"#999999\"/>",
            hexadecimal(colour)
        );
        text(svg, (x + 20) as f64, (y + 12) as f64, "", words);
    }
    let x = LEFT + kinds.len() * 190;
    let _ = writeln!(svg, "<path d=\"M{x} {0}h14\" stroke=\"#111111\" stroke-width=\"2.5\"/>", y + 7);
    text(svg, (x + 20) as f64, (y + 12) as f64, "", "boundary");
}

/// The places that get a label.
fn labelled(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(LABELS).max(1))
}

fn across(column: usize, columns: usize) -> f64 {
    LEFT as f64 + (column * WIDTH) as f64 / columns.max(1) as f64
}

fn up(row: usize, rows: usize) -> f64 {
    (TOP + HEIGHT) as f64 - (row * HEIGHT) as f64 / rows.max(1) as f64
}

fn colour(brief: Brief) -> String {
    hexadecimal(mixed(brief.in_time, brief.oom_killed, brief.nobody))
}

/// From good over half to bad, and as much of nothing as there is.
fn mixed(good: u8, bad: u8, nothing: u8) -> [u8; 3] {
    let decided = u32::from(good) + u32::from(bad);
    let (near, weight) = if good >= bad { (GOOD, good) } else { (BAD, bad) };
    // 0 where both are equal, 255 where there is only one.
    let weight = (u32::from(weight) * 510 / decided.max(1)).saturating_sub(255);
    let blend = blended(HALF, near, weight);
    blended(blend, NOTHING, u32::from(nothing) * 255 / (decided + u32::from(nothing)).max(1))
}

/// So many 255ths of the other.
fn blended(one: [u8; 3], other: [u8; 3], part: u32) -> [u8; 3] {
    std::array::from_fn(|index| {
        let sum = u32::from(one[index]) * (255 - part.min(255)) + u32::from(other[index]) * part.min(255);
        u8::try_from(sum / 255).unwrap_or(u8::MAX)
    })
}

fn hexadecimal([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>", escaped(words));
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
